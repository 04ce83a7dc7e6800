"""Prints how the policy performs in the simulated cases: `python -m tests.support.rate_table`."""

from __future__ import annotations

import sys

from asyncgg.ratelimit import AdaptiveRate
from tests.support.rate_simulation import RunCase, simulate

QUOTAS_AND_CEILINGS = ((50, 200), (50, 50), (30, 30), (20, 30), (30, 200), (100, 200), (200, 200), (10, 1000), (2, 30))
"""Quota and configured ceiling, in requests per second."""


def main() -> None:
    """Print makespan over requests / quota, throttled share and throttle events of 20 s of work."""
    out = sys.stdout.write
    variants = [(after, jitter) for after in (None, 1.0) for jitter in (0.0, 0.003, 0.01, 0.03)]
    out(
        "| quota | ceiling | burst |"
        + "".join(f" RA {after or '-'} ±{1000 * jitter:g} ms |" for after, jitter in variants)
    )
    out("\n|---|---|---|" + "---|" * len(variants) + "\n")
    for quota, ceiling in QUOTAS_AND_CEILINGS:
        for burst in (1, 2, 5, 10, 50, 100):
            cells = []
            for after, jitter in variants:
                policy = AdaptiveRate(ceiling)
                count = max(1000, 20 * quota)
                result = simulate(RunCase(quota, ceiling, burst, count, retry_after=after, jitter=jitter), policy)
                cells.append(
                    f" {result.ratio:.3f} {result.throttled_share:.1%} {policy.statistics().throttle_events} |"
                )
            out(f"| {quota} | {ceiling} | {burst} |{''.join(cells)}\n")


if __name__ == "__main__":
    main()
