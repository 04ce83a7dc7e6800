"""The charts of a run: requests, latency and outcomes over time, and the worst cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from asyncgg.events import RateReason
from asyncgg.formatting import format_duration
from asyncgg.journal import CoreOutcomes, RateDecision
from asyncgg.report.svg import COLORS, draw_svg
from asyncgg.report.timeline import RunningTime, TimeBin

_SIZE: Final = (5.6, 2.7)
_SMALL: Final = (3.4, 1.6)
_MAX_BARS: Final = 12
_MAX_NAME: Final = 28
_MAX_NOTES: Final = 3
_SLOWER: Final = {RateReason.THROTTLED.value, RateReason.OVERLOADED.value, RateReason.BLOCKED.value}


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with the sentence that says what it shows."""

    title: str
    caption: str
    svg: str
    """Empty without matplotlib."""


def make_chart(
    name: str, title: str, caption: str, plot: Callable[[Any], None], *, draw: bool, size: tuple[float, float] = _SIZE
) -> Chart:
    """A chart that `plot` draws on a figure, if `draw`; the rest is as in `draw_svg`."""
    return Chart(title, caption, draw_svg(name, caption, size, plot) if draw else "")


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """What the charts over time show."""

    bins: Sequence[TimeBin]
    time: RunningTime
    decisions: Sequence[RateDecision]
    quota: float
    """Requests per second of the account."""
    total: int
    """Things of the run."""
    done_label: str


def time_charts(series: TimeSeries, *, draw: bool) -> list[Chart]:
    """The charts over time; `draw`: whether matplotlib is available."""
    bins, seconds = series.bins, sum(item.width for item in series.bins)
    sent, throttled = sum(item.requests for item in bins), sum(item.throttled for item in bins)
    requests = (
        f"{sent:,} requests in {format_duration(seconds)} of running time: {sent / seconds:.1f} per second on average,"
        f" the quota is {series.quota:g}. {throttled:,} were throttled."
    )
    known = [item.latencies for item in bins if item.latencies]
    slowest = max((latency[2] for latency in known), default=0.0)
    latency = (
        f"Half of the requests took at most {_milliseconds([item[0] for item in known])} in a typical interval;"
        f" the highest 99th percentile is {1000 * slowest:,.0f} ms."
    )
    last = bins[-1]
    outcomes = (
        f"At the end {last.done:,} of {series.total:,} things are {series.done_label},"
        f" {last.already:,} were already, {last.failed:,} failed."
    )
    charts = [
        ("requests", "Requests per second", requests, _draw_requests),
        ("latency", "Latency", latency, _draw_latency),
        ("outcomes", "Outcomes", outcomes, _draw_outcomes),
    ]
    return [
        make_chart(name, title, text, partial(plot, series=series), draw=draw) for name, title, text, plot in charts
    ]


def request_chart(name: str, title: str, series: TimeSeries, *, draw: bool) -> Chart:
    """A small chart of the requests over time, one of several; `name` is unique on the page."""
    sent, throttled = sum(item.requests for item in series.bins), sum(item.throttled for item in series.bins)
    seconds = max(series.time.total, 1e-3)
    text = f"{sent:,} requests in {format_duration(seconds)}, quota {series.quota:g}/s, {throttled:,} throttled."
    plot = partial(_draw_requests, series=series, is_small=True)
    return make_chart(name, title, text, plot, draw=draw, size=_SMALL)


def cores_chart(cores: Sequence[CoreOutcomes], *, draw: bool) -> Chart | None:
    """The cores with the most failed and pending things; None without any."""
    worst = [core for core in cores if core.failed or core.pending][:_MAX_BARS]
    if not worst:
        return None
    first = worst[0]
    counts = f"{first.failed:,} of {first.things:,} things failed, {first.pending:,} pending"
    text = f"The worst core is {first.name}: {counts}."
    return make_chart("cores", "Worst cores", text, partial(_draw_cores, cores=worst), draw=draw)


def _milliseconds(values: Sequence[float]) -> str:
    return f"{1000 * sorted(values)[len(values) // 2]:,.0f} ms" if values else "an unknown time"


def _time_axes(figure: Any, series: TimeSeries) -> Any:
    axes = figure.add_subplot()
    unit, name = (3600, "h") if series.time.total > 7200 else (60, "min") if series.time.total > 300 else (1, "s")
    axes.set_xlim(0, max(series.time.total, 1e-3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / unit:g} {name}")
    step = next(s for s in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 10**9) if series.time.total / unit / s <= 7)
    axes.xaxis.set_major_locator(_multiple_locator(step * unit))
    for offset in series.time.offsets[1:-1]:
        axes.axvline(offset, color=COLORS["muted"], linewidth=1, linestyle=":")
    return axes


def _multiple_locator(base: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(base)


def _draw_requests(figure: Any, series: TimeSeries, *, is_small: bool = False) -> None:
    axes, bins = _time_axes(figure, series), series.bins
    starts, widths = [item.start for item in bins], [item.width for item in bins]
    bottom = [0.0] * len(bins)
    for label, color, hatch, counts in (
        ("accepted", "accent-light", "", [item.accepted for item in bins]),
        ("other answers", "warning", "..", [item.other for item in bins]),
        ("throttled", "bad", "///", [item.throttled for item in bins]),
    ):
        if any(counts) or label == "accepted":
            # The last bin is shorter; below a second its rate would be noise.
            heights = [count / max(width, 1.0) for count, width in zip(counts, widths, strict=True)]
            axes.bar(
                starts,
                heights,
                widths,
                bottom,
                align="edge",
                color=COLORS[color],
                hatch=hatch,
                linewidth=0,
                label=label,
            )
            bottom = [one + other for one, other in zip(bottom, heights, strict=True)]
    axes.axhline(series.quota, color=COLORS["text"], linewidth=1, linestyle="--", label=f"quota {series.quota:g}")
    if series.decisions:
        times = [series.time.seconds_at(decision.at) for decision in series.decisions]
        rates = [decision.rate for decision in series.decisions]
        axes.step([*times, series.time.total], [*rates, rates[-1]], where="post", color=COLORS["accent"], label="rate")
        if not is_small:
            _annotate_decisions(axes, series, times)
    axes.set_ylim(0, 1.35 * max([*bottom, series.quota, *(decision.rate for decision in series.decisions)]))
    if not is_small:
        axes.legend(ncols=5, loc="upper left", bbox_to_anchor=(-0.02, 1.0), columnspacing=1.0, handlelength=1.4)


def _annotate_decisions(axes: Any, series: TimeSeries, times: Sequence[float]) -> None:
    """Mark every lowering of the rate and write at the largest ones what happened."""
    pairs = list(zip(times[1:], series.decisions[:-1], series.decisions[1:], strict=True))
    lowered = [(at, old.rate, new.rate) for at, old, new in pairs if new.reason in _SLOWER and new.rate < old.rate]
    if not lowered:
        return
    marker = {"marker": "v", "s": 22, "color": COLORS["bad"], "zorder": 4, "label": "slower"}
    axes.scatter([at for at, _, _ in lowered], [rate for _, _, rate in lowered], **marker)
    noted: list[float] = []
    for at, old_rate, rate in sorted(lowered, key=lambda item: item[2] - item[1]):
        if len(noted) < _MAX_NOTES and all(abs(at - other) > series.time.total / 6 for other in noted):
            noted.append(at)
            on_right = at > 0.8 * series.time.total
            axes.annotate(
                f"{old_rate:.3g} → {rate:.3g}",
                (at, rate),
                xytext=(-6 if on_right else 6, -11),
                textcoords="offset points",
                fontsize=8,
                ha="right" if on_right else "left",
            )


def _draw_latency(figure: Any, series: TimeSeries) -> None:
    axes = _time_axes(figure, series)
    points = [(item.start + item.width / 2, item.latencies) for item in series.bins if item.latencies]
    for number, (label, color, line) in enumerate(
        (("50th", "accent", "-"), ("90th", "muted", "--"), ("99th percentile", "bad", ":"))
    ):
        values = [1000 * latencies[number] for _, latencies in points]
        marker = "o" if len(points) == 1 else ""
        axes.plot(
            [at for at, _ in points], values, line, color=COLORS[color], label=label, marker=marker, linewidth=1.6
        )
    axes.set_ylim(0, 1.35 * max([1000 * latencies[2] for _, latencies in points], default=1.0))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f} ms")
    axes.legend(ncols=3, loc="upper left", title_fontsize=8, bbox_to_anchor=(-0.02, 1.0))


def _draw_outcomes(figure: Any, series: TimeSeries) -> None:
    axes, bins = _time_axes(figure, series), series.bins
    times = [0.0, *(item.start + item.width for item in bins)]
    bottom = [0.0] * len(times)
    # Failed things are at the bottom, with a line: it is visible however few they are.
    for label, color, line_width, counts in (
        ("failed", "bad", 2.0, [item.failed for item in bins]),
        ("already", "accent-light", 0.8, [item.already for item in bins]),
        (series.done_label, "good", 0.8, [item.done for item in bins]),
    ):
        if any(counts):
            top = [one + other for one, other in zip(bottom, [0, *counts], strict=True)]
            axes.fill_between(
                times, bottom, top, facecolor=COLORS[color], edgecolor=COLORS[color], linewidth=line_width, label=label
            )
            bottom = top
    axes.axhline(series.total, color=COLORS["text"], linewidth=1, linestyle="--", label="all things")
    axes.set_ylim(0, 1.25 * max(series.total, 1))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(ncols=4, loc="upper left", bbox_to_anchor=(-0.02, 1.0), columnspacing=1.0)


def _draw_cores(figure: Any, cores: Sequence[CoreOutcomes]) -> None:
    axes = figure.add_subplot()
    left = [0.0] * len(cores)
    names = [core.name if len(core.name) <= _MAX_NAME else f"{core.name[: _MAX_NAME - 1]}…" for core in cores]
    for label, color, hatch, counts in (
        ("failed", "bad", "///", [core.failed for core in cores]),
        ("pending", "warning", "..", [core.pending for core in cores]),
        ("already", "accent-light", "", [core.already for core in cores]),
        ("done", "good", "", [core.done for core in cores]),
    ):
        if any(counts):
            axes.barh(
                range(len(cores)),
                counts,
                left=left,
                color=COLORS[color],
                hatch=hatch,
                linewidth=0,
                height=0.7,
                label=label,
            )
            left = [one + other for one, other in zip(left, counts, strict=True)]
    axes.set_yticks(range(len(cores)), names, fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("things")
    figure.legend(ncols=4, loc="outside upper left", columnspacing=1.0)
