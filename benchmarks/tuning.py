"""Measure the speed of a trial of `tune` and the accuracy of `tune --live`.

`python -m benchmarks.tuning [--scale N]` (three minutes). One trial of an hour of service time,
100,000 batches at 28/s, in one process; then `tune --live` against simulators with different
quotas.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.models import Configuration, Workload
from asyncgg.tuning.trial import TrialJournals, TrialSetup, run_trial
from benchmarks.processes import run_measured
from benchmarks.simulator_process import simulator
from benchmarks.tables import write_results

BATCHES: Final = 100_000
QUOTA: Final = 28.0
MAX_TRIAL_SECONDS: Final = 60.0
SERVICES: Final = ((8.0, 8.0), (30.0, 20.0), (120.0, 120.0))
"""Quota and burst of each simulator."""
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
    """One measurement by `tune --live`."""

    quota: float
    burst: float
    measured_rate: float
    measured_burst: float
    throttled: int
    sent: int
    seconds: float

    @property
    def within_tolerance(self) -> bool:
        """Whether accuracy and throttles meet the targets."""
        exact = abs(self.measured_rate / self.quota - 1) <= RATE_TOLERANCE
        return (
            exact and abs(self.measured_burst / self.burst - 1) <= BURST_TOLERANCE and self.throttled <= MAX_THROTTLED
        )


def measure_long_trial(batches: int) -> LongTrial:
    """Run one configuration on so many batches."""
    setup = TrialSetup(Scenario(QUOTA, QUOTA, JitteredLatency(0.08, 0.04)), Workload(batches, 1000))
    started_at = time.perf_counter()
    with TrialJournals(setup.workload) as journals:
        trial = run_trial(Configuration(QUOTA, None, 64, 4), setup, journals)
    return LongTrial(batches, round(trial.seconds, 1), round(time.perf_counter() - started_at, 1), trial.throttled)


def measure_live(quota: float, burst: float) -> LiveProbe:
    """Measure a simulator with this quota."""
    with simulator(rate=quota, burst=burst, latency_ms=60, jitter_ms=20) as url:
        arguments = ["--live", "--yes", "--quiet", "--json", "--max-rate", "200", "--endpoint-url", url]
        report: dict[str, Any] = json.loads(run_measured(["-m", "asyncgg", "tune", *arguments]).output)
    requests = report["requests"]
    rate_and_burst = report["rate"] or 0.0, report["burst"] or 0.0
    return LiveProbe(quota, burst, *rate_and_burst, requests["throttled"], requests["sent"], report["seconds"])


def main() -> None:
    """Run the benchmark; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=1, help="divide the batches of the trial")
    args = parser.parse_args()
    trial = measure_long_trial(BATCHES // args.scale)
    print(f"trial   {trial.batches:,} batches, {trial.service_seconds:,.0f} s of service time in {trial.seconds:.1f} s")
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
        write_results("tuning", long_trial=asdict(trial), live=[asdict(row) for row in probes])
        if trial.seconds > MAX_TRIAL_SECONDS:
            sys.exit(f"more than {MAX_TRIAL_SECONDS:g} s")
    if not all(row.within_tolerance for row in probes):
        sys.exit("the accuracy is below the target")


if __name__ == "__main__":
    main()
