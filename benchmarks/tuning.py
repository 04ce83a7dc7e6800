"""How fast `tune` tries settings out, and how exactly `tune --live` measures a quota that it was not told.

`python -m benchmarks.tuning` (three minutes). `hour`: one trial of an hour of service time, 100,000 batches at a quota
of 28/s, in one process. `live`: the command against simulators of their own, with bursts of a second and less.
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
from asyncgg.tuning.journal import TrialJournals
from asyncgg.tuning.trial import TrialSetup, run_trial
from asyncgg.tuning.values import Configuration, Workload
from benchmarks.processes import measured

RESULTS: Final = Path(__file__).parent / "results" / "tuning.json"
BATCHES: Final = 100_000
QUOTA: Final = 28.0
MOST_SECONDS: Final = 60.0
SERVICES: Final = ((8.0, 8.0), (30.0, 20.0), (120.0, 120.0))
"""Quota and burst that the measurement is not told."""
RATE_WITHIN, BURST_WITHIN, MOST_THROTTLED = 0.05, 0.2, 30


@dataclass(frozen=True)
class Hour:
    """One long trial."""

    batches: int
    service_seconds: float
    seconds: float
    throttled: int


@dataclass(frozen=True)
class Live:
    """One measurement of a service."""

    quota: float
    burst: float
    rate_found: float
    burst_found: float
    throttled: int
    sent: int
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether it is as exact and as considerate as promised."""
        exact = abs(self.rate_found / self.quota - 1) <= RATE_WITHIN
        return exact and abs(self.burst_found / self.burst - 1) <= BURST_WITHIN and self.throttled <= MOST_THROTTLED


def hour(batches: int) -> Hour:
    """Try one point out on so many batches."""
    setup = TrialSetup(Scenario(QUOTA, QUOTA, JitteredLatency(0.08, 0.04)), Workload(batches, 1000))
    begun = time.perf_counter()
    with TrialJournals(setup.workload) as bench:
        trial = run_trial(Configuration(QUOTA, None, 64, 4), setup, bench)
    return Hour(batches, round(trial.seconds, 1), round(time.perf_counter() - begun, 1), trial.throttled)


@contextmanager
def served(quota: float, burst: float) -> Iterator[str]:
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


def live(quota: float, burst: float) -> Live:
    """Measure such a service."""
    with served(quota, burst) as url:
        words = ["--live", "--yes", "--quiet", "--json", "--up-to", "200", "--endpoint-url", url]
        told: dict[str, Any] = json.loads(measured(["-m", "asyncgg", "tune", *words]).output)
    requests = told["requests"]
    found = told["rate"] or 0.0, told["burst"] or 0.0
    return Live(quota, burst, *found, requests["throttled"], requests["sent"], told["seconds"])


def main() -> None:
    """Measure, print, write; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=1, help="divide the batches by this, to see that it works")
    given = parser.parse_args()
    long = hour(BATCHES // given.scale)
    print(f"hour    {long.batches:,} batches, {long.service_seconds:,.0f} s of service time in {long.seconds:.1f} s")
    found = []
    for quota, burst in SERVICES:
        found.append(live(quota, burst))
        row = found[-1]
        print(
            f"live    {quota:g}/s, burst {burst:g}: {row.rate_found:.4g}/s, burst {row.burst_found:.4g},"
            f" {row.throttled} of {row.sent:,} throttled, {row.seconds:.0f} s",
            flush=True,
        )
    if given.scale == 1:
        result = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "hour": asdict(long),
            "live": [asdict(row) for row in found],
        }
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        print(f"written to benchmarks/results/{RESULTS.name}")
        if long.seconds > MOST_SECONDS:
            sys.exit(f"more than {MOST_SECONDS:g} s")
    if not all(row.kept for row in found):
        sys.exit("a quota was not measured as exactly as promised")


if __name__ == "__main__":
    main()
