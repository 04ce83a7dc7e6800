"""How fast `tune` tries settings out, and how exactly `tune --live` measures a quota that it was not told.

`python -m benchmarks.tuning` (three minutes). `measure_long_trial`: one trial of an hour of service time, 100,000 batches at a quota
of 28/s, in one process. `measure_live`: the command against simulators of their own, with bursts of a second and less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.models import Configuration, Workload
from asyncgg.tuning.trial import TrialJournals, TrialSetup, run_trial
from benchmarks.processes import run_measured

RESULTS: Final = Path(__file__).parent / "results" / "tuning.json"
BATCHES: Final = 100_000
QUOTA: Final = 28.0
MAX_TRIAL_SECONDS: Final = 60.0
SERVICES: Final = ((8.0, 8.0), (30.0, 20.0), (120.0, 120.0))
"""Quota and burst that the measurement is not told."""
RATE_TOLERANCE, BURST_TOLERANCE, MAX_THROTTLED = 0.05, 0.2, 30


@dataclass(frozen=True)
class LongTrial:
    """One long trial."""

    batches: int
    service_seconds: float
    seconds: float
    throttled: int


@dataclass(frozen=True)
class LiveProbe:
    """One measurement of a service."""

    quota: float
    burst: float
    measured_rate: float
    measured_burst: float
    throttled: int
    sent: int
    seconds: float

    @property
    def within_tolerance(self) -> bool:
        """Whether it is as exact and as considerate as promised."""
        exact = abs(self.measured_rate / self.quota - 1) <= RATE_TOLERANCE
        return (
            exact and abs(self.measured_burst / self.burst - 1) <= BURST_TOLERANCE and self.throttled <= MAX_THROTTLED
        )


def measure_long_trial(batches: int) -> LongTrial:
    """Try one point out on so many batches."""
    setup = TrialSetup(Scenario(QUOTA, QUOTA, JitteredLatency(0.08, 0.04)), Workload(batches, 1000))
    started_at = time.perf_counter()
    with TrialJournals(setup.workload) as journals:
        trial = run_trial(Configuration(QUOTA, None, 64, 4), setup, journals)
    return LongTrial(batches, round(trial.seconds, 1), round(time.perf_counter() - started_at, 1), trial.throttled)


@contextmanager
def serve_in_process(quota: float, burst: float) -> Iterator[str]:
    """A simulator in a process of its own; its URL."""
    options = [f"--rate={quota}", f"--burst={burst}", "--latency-ms=60", "--jitter-ms=20"]
    command = [sys.executable, "-m", "asyncgg.simulator", "--port=0", "--until-eof", *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def measure_live(quota: float, burst: float) -> LiveProbe:
    """Measure such a service."""
    with serve_in_process(quota, burst) as url:
        arguments = ["--live", "--yes", "--quiet", "--json", "--max-rate", "200", "--endpoint-url", url]
        report: dict[str, Any] = json.loads(run_measured(["-m", "asyncgg", "tune", *arguments]).output)
    requests = report["requests"]
    rate_and_burst = report["rate"] or 0.0, report["burst"] or 0.0
    return LiveProbe(quota, burst, *rate_and_burst, requests["throttled"], requests["sent"], report["seconds"])


def main() -> None:
    """Measure, print, write; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=1, help="divide the batches by this, to see that it works")
    args = parser.parse_args()
    trial = measure_long_trial(BATCHES // args.scale)
    print(f"hour    {trial.batches:,} batches, {trial.service_seconds:,.0f} s of service time in {trial.seconds:.1f} s")
    probes = []
    for quota, burst in SERVICES:
        probes.append(measure_live(quota, burst))
        row = probes[-1]
        print(
            f"live    {quota:g}/s, burst {burst:g}: {row.measured_rate:.4g}/s, burst {row.measured_burst:.4g},"
            f" {row.throttled} of {row.sent:,} throttled, {row.seconds:.0f} s",
            flush=True,
        )
    if args.scale == 1:
        result = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "long_trial": asdict(trial),
            "live": [asdict(row) for row in probes],
        }
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        print(f"written to benchmarks/results/{RESULTS.name}")
        if trial.seconds > MAX_TRIAL_SECONDS:
            sys.exit(f"more than {MAX_TRIAL_SECONDS:g} s")
    if not all(row.within_tolerance for row in probes):
        sys.exit("a quota was not measured as exactly as promised")


if __name__ == "__main__":
    main()
