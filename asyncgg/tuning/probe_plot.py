"""Plot the measurement of a quota over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from asyncgg.tuning.plot import ACCENT_COLOR, MUTED_COLOR, WARNING_COLOR, draw_title, save_figure
from asyncgg.tuning.probe_report import ProbeReport
from asyncgg.tuning.probe_sender import ProbeOutcome, ProbeRequest


def plot_probe(report: ProbeReport, path: Path) -> None:
    """Plot requests per second with the measured rate, throttles, and latencies, as `save_figure`."""
    save_figure(path, 2, 1, (11.0, 6.4), partial(_draw, report))


def _draw(report: ProbeReport, figure: Any, rates: Any, latencies: Any) -> None:
    result = report.result
    log = sorted(result.log)
    start = log[0].sent_at if log else 0.0
    draw_title(figure, _headline(report), f"{report.endpoint.region}, {result.sent:,} ListCoreDevices")
    throttled = [request for request in log if request.outcome is ProbeOutcome.THROTTLED]
    accepted = [request for request in log if request.outcome is ProbeOutcome.ACCEPTED]
    _draw_rate(rates, log, start, "sent", MUTED_COLOR)
    _draw_rate(rates, accepted, start, "accepted", ACCENT_COLOR)
    if result.rate is not None:
        error = result.rate_error
        rates.axhspan(result.rate - error, result.rate + error, color=ACCENT_COLOR, alpha=0.2, label="measured rate")
    quota, source = (report.applied, "Service Quotas") if report.applied else (report.documented, "documented")
    rates.axhline(quota, color=MUTED_COLOR, linestyle=":", label=f"quota ({source})")
    rates.plot(
        [request.sent_at - start for request in throttled],
        [0.0] * len(throttled),
        linestyle="",
        marker="^",
        color=WARNING_COLOR,
        clip_on=False,
        label="throttled",
    )
    rates.set_ylabel("requests/s")
    rates.set_ylim(0, 1.2 * rates.get_ylim()[1])  # room for the legend
    rates.legend(frameon=False, ncols=5, loc="upper left")
    latencies.plot(
        [request.sent_at - start for request in accepted],
        [1000 * (request.answered_at - request.sent_at) for request in accepted],
        linestyle="",
        marker=".",
        color=ACCENT_COLOR,
    )
    latencies.set_ylabel("latency, ms")
    latencies.set_xlabel("seconds since the first request")
    latencies.set_ylim(bottom=0)
    latencies.sharex(rates)


def _draw_rate(axes: Any, requests: Iterable[ProbeRequest], start: float, label: str, color: str) -> None:
    """Draw the requests of each second."""
    counts = Counter(int(request.sent_at - start) for request in requests)
    seconds = range(max(counts, default=0) + 1)
    axes.step([*seconds, len(seconds)], [0, *(counts[second] for second in seconds)], color=color, label=label)


def _headline(report: ProbeReport) -> str:
    result = report.result
    if result.rate is None:
        return f"no rate found up to {result.max_rate_tried:.3g} requests/s"
    burst = "" if result.burst is None else f", burst {result.burst:.3g}"
    prefix = "at least " if result.is_lower_bound else ""
    return f"{prefix}{result.rate:.4g} requests/s available{burst}"
