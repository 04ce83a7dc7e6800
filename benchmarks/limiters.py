"""Measure `--rate auto` and `--rate 30` on each kind of limiter against the best constant rate.

`python -m benchmarks.limiters [--quick]` (about 20 minutes). Real processes: a new simulator for each
measurement, 30 requests/s, 60 + 40 ms of latency, 600 batches. The oracle is the shortest duration of
a sender with a constant rate that is throttled at most 3 % on the same limiter; bisection finds it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.clients import BenchmarkClient, asyncgg, baseline
from benchmarks.processes import run_measured
from benchmarks.simulator_process import ObservedRun, query_simulator, simulator
from benchmarks.tables import write_results

QUOTA: Final = 30.0
MAX_THROTTLED: Final = 0.03
LIMITERS: Final[Mapping[str, Mapping[str, object]]] = {
    "token bucket, burst 30": {"burst": 30},
    "token bucket, burst 5": {"burst": 5},
    "token bucket, burst 2, Retry-After 1 s": {"burst": 2, "retry_after": 1},
    "fixed window 1 s": {"limiter": "fixed-window"},
    "sliding window 1 s": {"limiter": "sliding-window"},
    "8 partitions, burst 50": {"partitions": 8, "burst": 50},
    "sliding window, 500 ms late": {"delay": "500ms"},
}


@dataclass(frozen=True)
class LimiterResult:
    """The run of one client against one limiter."""

    limiter: str
    client: str
    ratio: float
    """Time from the first to the last arrival, relative to batches divided by quota."""
    throttled: float
    """Share of the requests sent."""
    remaining: int
    """Things that still are associated."""


def measure(limiter: str, client: BenchmarkClient, batches: int) -> LimiterResult:
    """Run a client against a new simulator with this limiter."""
    options = {"rate": QUOTA, "cores": batches, "things": 1, "latency_ms": 60, "jitter_ms": 40, **LIMITERS[limiter]}
    with tempfile.TemporaryDirectory() as folder, simulator(**options) as url:
        manifest = Path(folder) / "fleet.csv"
        manifest.write_text(query_simulator(url, "manifest.csv"))
        run_measured(client.command(url, manifest))
        run = ObservedRun(url)
    return LimiterResult(limiter, client.name, run.seconds / (batches / QUOTA), run.throttled / run.sent, run.remaining)


def measure_oracle(limiter: str, batches: int, steps: int) -> LimiterResult:
    """Return the fastest constant rate that is throttled at most 3 % and leaves nothing."""
    low, high = 0.8 * QUOTA, 1.03 * QUOTA
    best: LimiterResult | None = None
    for _ in range(steps):
        rate = (low + high) / 2
        result = measure(limiter, baseline(f"constant {rate:.2f}/s", "constant", "--rate", f"{rate:.3f}"), batches)
        if result.throttled <= MAX_THROTTLED and not result.remaining:
            low = rate
            best = result if best is None or result.ratio < best.ratio else best
        else:
            high = rate
    if best is None:
        return measure(limiter, baseline(f"constant {low:.2f}/s", "constant", "--rate", f"{low:.3f}"), batches)
    return best


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="90 batches, three constant rates")
    parser.add_argument("names", nargs="*", metavar="LIMITER", help=f"{'; '.join(LIMITERS)} [default: all]")
    args = parser.parse_args()
    if unknown := set(args.names) - LIMITERS.keys():
        sys.exit(f"unknown limiter {', '.join(sorted(unknown))}; must be one of: {'; '.join(LIMITERS)}")
    batches, steps = (90, 3) if args.quick else (600, 5)
    clients = [asyncgg("--rate auto"), asyncgg("--rate 30", "--rate", "30")]
    rows = []
    for limiter in args.names or LIMITERS:
        oracle = measure_oracle(limiter, batches, steps)
        for result in (oracle, *(measure(limiter, client, batches) for client in clients)):
            rows.append(asdict(result) | {"oracle_ratio": oracle.ratio, "to_oracle": result.ratio / oracle.ratio})
            print(
                f"{limiter:38}  {result.client:16}  duration ÷ (N/rate) {result.ratio:.3f}  throttled"
                f" {100 * result.throttled:.1f} %  ÷ oracle {result.ratio / oracle.ratio:.3f}"
                + (f"  {result.remaining} things remain" if result.remaining else ""),
                flush=True,
            )
    write_results("limiters", quick=args.quick, quota=QUOTA, batches=batches, max_throttled=MAX_THROTTLED, rows=rows)


if __name__ == "__main__":
    main()
