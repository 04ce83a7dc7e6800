"""Compare rate policies on a grid of services in virtual time.

`python -m benchmarks.policy_grid [CASES]` (default: 60 of each kind). Quotas of 5 to 300/s, bursts
of 1 to 5 s (or 1 to 5 requests), latencies of 20 ms to 1.5 s with jitter, with and without
Retry-After, first rates of 0.25 to 4 times the quota; a quota that halves and returns; two to four
runs that share a quota; a client that ignores throttling; and every other limiter of the simulator,
with the duration relative to the oracle: the best constant rate that is throttled at most 3 %. Prints
the mean of each figure and its 5 % worst value.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from statistics import mean
from typing import Final

from asyncgg.ratelimit import AdaptiveRate, RatePolicy
from asyncgg.service_limiters import LimiterKind, LimiterSpec
from asyncgg.testing import FixedRate
from benchmarks.baseline_policies import Aimd, Cubic
from benchmarks.simulation import PolicyClient, QuotaStep, SdkLegacyClient, Service, Simulation, quota_utilization

__all__ = ["CANDIDATES", "KINDS", "jain", "scores"]

PolicyFactory = Callable[[float, float], RatePolicy]
"""Makes a policy from a documented quota, where it starts, and the highest rate."""

CANDIDATES: Final[Mapping[str, PolicyFactory]] = {
    "AIMD": lambda quota, ceiling: Aimd(ceiling, documented=quota),
    "CUBIC": lambda quota, ceiling: Cubic(ceiling, documented=quota),
    "AdaptiveRate": lambda quota, ceiling: AdaptiveRate(ceiling, documented=quota, explore_after=2.0),
}
_NO_CEILING: Final = 1e6
_LOWER_IS_BETTER: Final = ("ratio", "throttled")
_MAX_THROTTLED: Final = 0.03
"""Share of throttled requests up to which a constant rate can be the oracle."""
_CONSTANT_RATES: Final = tuple(percent / 100 for percent in range(70, 101))
"""Constant rates from which the oracle is chosen, as parts of the quota."""
_BURSTS: Final = {LimiterKind.PARTITIONED: (50 / 30, 3.0)}
"""Seconds of the quota that the limiter saves up; the windows have no burst."""


@dataclass(frozen=True, slots=True)
class GridCase:
    """One service."""

    quota: float
    burst: float
    latency: float
    retry_after: float | None
    factor: float
    """Documented quota relative to the true one, if the policy does not know it."""
    seed: int

    def service(self, steps: list[QuotaStep] | None = None) -> Service:
        """Return the service in its initial state."""
        jitter, constant = 0.4 * self.latency, 0.6 * self.latency
        return Service(steps or [(0.0, self.quota)], self.burst, constant, jitter, self.retry_after)

    @property
    def workers(self) -> int:
        """Enough workers not to limit the rate."""
        return int(max(64, 3 * self.quota * self.latency))


def cases(kind: str, count: int) -> list[GridCase]:
    """Return random cases of the grid, always the same."""
    rng = random.Random(f"{kind} 5")
    result = []
    for seed in range(count):
        quota = rng.choice([5.0, 12.0, 30.0, 50.0, 120.0, 300.0])
        burst = rng.choice([1.0, 2.0, 5.0] if kind == "tiny burst" else [quota, 2 * quota, 5 * quota])
        latency, after = rng.choice([0.02, 0.1, 0.4, 1.5]), rng.choice([None, None, 1.0])
        result.append(GridCase(quota, burst, latency, after, rng.choice([0.25, 0.5, 1.0, 2.0, 4.0]), seed))
    return result


def measure_unknown_quota(make_policy: PolicyFactory, case: GridCase) -> dict[str, float]:
    """Run 40 s of work with a wrong documented quota."""
    requests = 40 * case.quota
    policy = make_policy(case.factor * case.quota, _NO_CEILING)
    run = PolicyClient("run", work=requests, workers=case.workers, policy=policy)
    Simulation(case.service(), [run], until=400, seed=case.seed).run()
    end = run.done_at if math.isfinite(run.done_at) else 400 * requests / max(1, len(run.accepted))
    return {"ratio": max(1.0, (end - 1.2 * case.latency) / 40), "throttled": run.throttled_share}


def measure_quota_steps(make_policy: PolicyFactory, case: GridCase) -> dict[str, float]:
    """Halve the quota at 20 s and restore it at 45 s."""
    quota = case.quota
    service = case.service([(0.0, quota), (20.0, quota / 2), (45.0, quota)])
    run = PolicyClient("run", workers=case.workers, policy=make_policy(quota, _NO_CEILING))
    Simulation(service, [run], until=70, seed=case.seed).run()
    utilizations = (quota_utilization(service, [run], start, start + 15) for start in (30.0, 55.0))
    return dict(zip(("halved", "returned"), (min(1.0, share) for share in utilizations), strict=True)) | {
        "throttled": run.throttled_share
    }


def measure_shared_quota(make_policy: PolicyFactory, case: GridCase) -> dict[str, float]:
    """Start two to four runs 0, 5 or 10 s apart; measure one minute after the last start."""
    gap = random.Random(case.seed).choice([0.0, 5.0, 10.0])
    service = case.service()
    runs = [
        PolicyClient(f"{n}", gap * n, workers=case.workers, policy=make_policy(case.quota, _NO_CEILING))
        for n in range(2 + case.seed % 3)
    ]
    start = gap * (len(runs) - 1) + 5
    Simulation(service, runs, until=start + 60, seed=case.seed).run()
    throttled = sum(len(run.throttled) for run in runs) / sum(len(run.sent) for run in runs)
    fairness = jain([sum(at >= start for at in run.accepted) for run in runs])
    return {
        "utilization": min(1.0, quota_utilization(service, runs, start, start + 60)),
        "jain": fairness,
        "throttled": throttled,
    }


def measure_greedy_neighbour(make_policy: PolicyFactory, case: GridCase) -> dict[str, float]:
    """Share the quota from 5 to 35 s with 50 loops that ignore throttling."""
    service = case.service()
    run = PolicyClient("run", workers=case.workers, policy=make_policy(case.quota, _NO_CEILING))
    neighbour = SdkLegacyClient("legacy", start=5, end=35, workers=50)
    Simulation(service, [run, neighbour], until=60, seed=case.seed).run()
    return {
        "during": quota_utilization(service, [run], 10, 35),
        "after": min(1.0, quota_utilization(service, [run], 45, 60)),
        "throttled": run.throttled_share,
    }


def measure_limiter(kind: LimiterKind, make_policy: PolicyFactory, case: GridCase) -> dict[str, float]:
    """Run 20 s of work with the right documented quota, which is never exceeded."""
    seconds, throttled = _run_limited(kind, case, make_policy(case.quota, case.quota))
    return {"ratio": seconds / _oracle_seconds(kind, case), "throttled": throttled}


def _run_limited(kind: LimiterKind, case: GridCase, policy: RatePolicy) -> tuple[float, float]:
    """The seconds of the run and the share of throttled requests."""
    service, rng = case.service(), random.Random(case.seed)
    service.burst = rng.choice(_BURSTS.get(kind, (1.0,))) * case.quota
    service.limiter = LimiterSpec(kind).create(case.quota, service.burst, rng)
    run = PolicyClient("run", work=20 * case.quota, workers=case.workers, policy=policy)
    Simulation(service, [run], until=200, seed=case.seed).run()
    return min(200.0, run.done_at), run.throttled_share


@cache
def _oracle_seconds(kind: LimiterKind, case: GridCase) -> float:
    """The shortest duration with a constant rate that is throttled at most 3 %, else with the least throttled."""
    results = [_run_limited(kind, case, FixedRate(part * case.quota)) for part in _CONSTANT_RATES]
    limit = max(_MAX_THROTTLED, min(throttled for _, throttled in results))
    return min(seconds for seconds, throttled in results if throttled <= limit)


KINDS: Final[Mapping[str, Callable[[PolicyFactory, GridCase], dict[str, float]]]] = {
    "unknown": measure_unknown_quota,
    "tiny burst": measure_unknown_quota,
    "step": measure_quota_steps,
    "shared": measure_shared_quota,
    "greedy": measure_greedy_neighbour,
    **{kind.value: partial(measure_limiter, kind) for kind in LimiterKind if kind is not LimiterKind.TOKEN_BUCKET},
}


def jain(parts: list[int]) -> float:
    """Return Jain's fairness index: 1 for equal parts, 1/n if one part has everything."""
    return sum(parts) ** 2 / max(1, len(parts) * sum(part**2 for part in parts))


def scores(make_policy: PolicyFactory, kind: str, count: int) -> dict[str, tuple[float, float]]:
    """Return the mean and the 5 % worst value of each figure."""
    rows = [KINDS[kind](make_policy, case) for case in cases(kind, count)]
    result = {}
    for key in rows[0]:
        values = sorted((row[key] for row in rows), reverse=key not in _LOWER_IS_BETTER)
        result[key] = (mean(values), values[int(0.95 * len(values))])
    return result


def main() -> None:
    """Run the benchmark."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    for kind in KINDS:
        for name, make_policy in CANDIDATES.items():
            cells = (
                f"{key} {average:.3f} ({worst:.3f})"
                for key, (average, worst) in scores(make_policy, kind, count).items()
            )
            print(f"{kind:14}  {name:12}  {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
