"""Compare clients under a quota that is configured wrong, that changes, or that is shared.

`python -m benchmarks adaptive` (eleven minutes). asyncgg and the adaptive and legacy modes of the SDK
in separate processes against a simulator: 50 requests/s, burst 50, latency 60 ms + 40 ms on
average, 3,000 batches of 10 things.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
import threading
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.clients import BenchmarkClient, asyncgg, baseline
from benchmarks.processes import run_measured
from benchmarks.simulator_process import query_simulator, simulator
from benchmarks.tables import results_folder, write_results

__all__ = ["run"]

QUOTA: Final = 50.0
BATCHES: Final = 3000
STEPS: Final = ((0.0, 50.0), (25.0, 25.0), (50.0, 50.0))
SETTLING_SECONDS: Final = 10.0
"""Seconds after a step that the utilization leaves out."""


@dataclass(frozen=True)
class Experiment:
    """Clients that start together and share the batches."""

    name: str
    clients: Sequence[BenchmarkClient]
    steps: Sequence[tuple[float, float]] = ((0.0, QUOTA),)
    batch_share: float = 1.0
    """Share of all batches that the experiment needs."""
    parts: Sequence[int] = (1, 1)
    """How the batches are divided among the clients."""


def experiments() -> list[Experiment]:
    """Return all experiments, of asyncgg and of the adaptive mode of the SDK."""
    auto = asyncgg("asyncgg, auto", "--quota", str(QUOTA))
    adaptive = baseline("SDK adaptive", "aiobotocore", "--mode", "adaptive")
    legacy = baseline("SDK legacy", "aiobotocore", "--mode", "legacy")
    second = asyncgg("asyncgg, second", "--quota", str(QUOTA))
    return [
        Experiment("configured 200/s", [asyncgg("asyncgg --rate 200", "--rate", "200")]),
        Experiment(
            "configured 12/s, free to rise", [asyncgg("asyncgg --quota 12 --explore", "--quota", "12", "--explore")]
        ),
        Experiment("not configured", [adaptive]),
        Experiment(
            "half of the quota",
            [asyncgg("--quota-share 0.5", "--quota", "50", "--quota-share", "0.5")],
            batch_share=0.3,
        ),
        Experiment("the quota halves and returns", [auto], STEPS),
        Experiment("the quota halves and returns", [adaptive], STEPS),
        Experiment("two runs", [auto, second]),
        Experiment("two runs, one ends", [auto, second], batch_share=0.6, parts=(2, 1)),
        Experiment("two runs", [adaptive, baseline("SDK adaptive, second", "aiobotocore", "--mode", "adaptive")]),
        Experiment("with a client that ignores throttling", [auto, legacy]),
    ]


@dataclass(frozen=True)
class ClientTrace:
    """The requests of one client, in seconds since the first request of all."""

    name: str
    sent: list[float]
    accepted: list[float]

    @property
    def throttled_share(self) -> float:
        """Share of the requests sent."""
        return 1 - len(self.accepted) / max(1, len(self.sent))

    def peak_rate(self, window: float) -> float:
        """Return the highest rate over any window of so many seconds."""
        return max((bisect_left(self.sent, at + window) - i) / window for i, at in enumerate(self.sent))


def measure(experiment: Experiment, batches: int) -> list[ClientTrace]:
    """Run the experiment against a new simulator."""
    fleet = {
        "cores": int(batches * experiment.batch_share),
        "things": 10,
        "rate": experiment.steps[0][1],
        "burst": QUOTA,
    }
    with tempfile.TemporaryDirectory() as folder, simulator(**fleet, latency_ms=60, jitter_ms=40) as url:
        rows = list(csv.reader(io.StringIO(query_simulator(url, "manifest.csv"))))
        cores = sorted({core for core, _ in rows[1:]})
        owners = [
            n for n, part in zip(range(len(experiment.clients)), experiment.parts, strict=False) for _ in range(part)
        ]
        owner = {core: owners[number % len(owners)] for number, core in enumerate(cores)}
        with _scheduled_quota_changes(url, experiment.steps[1:]):
            threads = []
            for number, client in enumerate(experiment.clients):
                manifest = Path(folder) / f"{number}.csv"
                with manifest.open("w", newline="") as file:
                    csv.writer(file).writerows([rows[0], *(row for row in rows[1:] if owner[row[0]] == number)])
                threads.append(threading.Thread(target=run_measured, args=(client.command(url, manifest),)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        log = [row for row in query_simulator(url, "requests") if row["core"]]
    first_sent_at = log[0]["time"]
    traces = [ClientTrace(client.name, [], []) for client in experiment.clients]
    for row in log:
        trace = traces[owner[row["core"]]]
        trace.sent.append(row["time"] - first_sent_at)
        if row["code"] != "ThrottlingException":
            trace.accepted.append(row["time"] - first_sent_at)
    return traces


def summarize(experiment: Experiment, traces: Sequence[ClientTrace]) -> dict[str, Any]:
    """Return the figures of an experiment."""
    end = max(trace.sent[-1] for trace in traces)
    accepted = [len(trace.accepted) for trace in traces]
    row: dict[str, Any] = {"experiment": experiment.name, "clients": [trace.name for trace in traces]}
    row["ratio"] = end / (sum(accepted) / QUOTA) if len(experiment.steps) == 1 else None
    row["throttled"] = [trace.throttled_share for trace in traces]
    row["peak_rate_5_s"] = [trace.peak_rate(5.0) for trace in traces]
    if len(experiment.steps) > 1:
        bounds = [*(since for since, _ in experiment.steps[1:]), end]
        row["utilization_after_steps"] = [
            _utilization(traces, since + SETTLING_SECONDS, until, rate)
            for (since, rate), until in zip(experiment.steps[1:], bounds[1:], strict=True)
            if until > since + SETTLING_SECONDS
        ]
    if len(traces) > 1:
        overlap_end = min(trace.sent[-1] for trace in traces)
        rates = [bisect_left(trace.accepted, overlap_end) / overlap_end for trace in traces]
        row |= {"rates": rates, "utilization": sum(rates) / QUOTA}
        row["jain"] = sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates))
        staying = [trace for trace in traces if trace.sent[-1] >= overlap_end + 6]
        if staying:
            row["utilization_after_leaving"] = [
                _utilization(staying, overlap_end + since, overlap_end + since + 3, QUOTA) for since in (0, 3)
            ]
    return row


def run(quick: bool, rounds: int | None) -> None:
    """Run the benchmark."""
    from benchmarks.charts import Curve, RatePanel, write_rate_chart

    rows, panels = [], []
    for _ in range(rounds or 1):
        for experiment in experiments():
            traces = measure(experiment, 300 if quick else BATCHES)
            rows.append(summarize(experiment, traces))
            summary = _format_row(rows[-1])
            print(f"{experiment.name}: {', '.join(rows[-1]['clients'])}: {summary}", flush=True)
            seconds = int(max(trace.sent[-1] for trace in traces)) + 1
            curves = [
                Curve(
                    trace.name,
                    [bisect_left(trace.accepted, s + 1) - bisect_left(trace.accepted, s) for s in range(seconds)],
                )
                for trace in traces
            ]
            panels.append(RatePanel(f"{experiment.name}: {traces[0].name}", summary, curves, experiment.steps))
    write_results("adaptive", quick=quick, quota=QUOTA, burst=QUOTA, batches=BATCHES, steps=STEPS, rows=rows)
    subtitle = "accepted requests in each second; dashed: the quota; burst 50, latency 60 + 40 ms"
    write_rate_chart(results_folder(quick=quick) / "adaptive.svg", "Quotas not known exactly", subtitle, panels)


def _format_row(row: dict[str, Any]) -> str:
    parts = []
    if row["ratio"] is not None and len(row["clients"]) == 1:
        parts.append(f"duration ÷ (N/rate) {row['ratio']:.3f}")
    parts.append("throttled " + " and ".join(f"{100 * share:.1f} %" for share in row["throttled"]))
    if "utilization_after_steps" in row:
        shares = " and ".join(f"{100 * share:.0f} %" for share in row["utilization_after_steps"])
        parts.append(f"utilization from 10 s after each step {shares}")
    if "jain" in row:
        rates = " and ".join(f"{rate:.1f}" for rate in row["rates"])
        parts.append(f"{rates}/s, utilization {100 * row['utilization']:.0f} %, Jain {row['jain']:.3f}")
    if "utilization_after_leaving" in row:
        shares = " and ".join(f"{100 * share:.0f} %" for share in row["utilization_after_leaving"])
        parts.append(f"utilization 0-3 s and 3-6 s after the neighbour left {shares}")
    if len(row["clients"]) == 1:
        parts.append(f"at most {row['peak_rate_5_s'][0]:.1f}/s in 5 s")
    return ", ".join(parts)


def _utilization(traces: Sequence[ClientTrace], start: float, end: float, rate: float) -> float:
    accepted = sum(bisect_left(trace.accepted, end) - bisect_left(trace.accepted, start) for trace in traces)
    return accepted / (rate * (end - start))


@contextmanager
def _scheduled_quota_changes(url: str, steps: Sequence[tuple[float, float]]) -> Iterator[None]:
    """Change the quota of the simulator at these times after its first request."""
    stopped = threading.Event()

    def change() -> None:
        while not query_simulator(url, "counters")["total"]:
            if stopped.wait(0.02):
                return
        started_at = time.monotonic()
        for since, rate in steps:
            if stopped.wait(max(0.0, started_at + since - time.monotonic())):
                return
            body = json.dumps({"rate": rate}).encode()
            urllib.request.urlopen(urllib.request.Request(f"{url}/_sim/quota", body), timeout=10).close()

    thread = threading.Thread(target=change)
    if steps:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        if steps:
            thread.join()
