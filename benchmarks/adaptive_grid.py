"""Rate policies on a grid of services, in virtual time: `python -m benchmarks.adaptive_grid [CASES]` (60 of each kind).

Quotas of 5 to 300/s, bursts of 1 to 5 s (and, apart, of 1 to 5 requests), latencies of 20 ms to 1.5 s with jitter,
Retry-After or none, first rates of a quarter to four times the quota; steps to the half and back; two to four runs of
one kind; a neighbour that ignores throttling. For each figure the mean, and the worst of twenty.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Final

from asyncgg.ratelimit import AdaptiveRate, RatePolicy
from benchmarks.adaptive_rivals import Aimd, Cubic
from benchmarks.adaptive_world import Legacy, Paced, Service, Step, World, share_of

__all__ = ["CANDIDATES", "KINDS", "jain", "scores"]

Make = Callable[[float], RatePolicy]
"""A policy that is told this quota and may rise."""

CANDIDATES: Final[Mapping[str, Make]] = {
    "AIMD": lambda told: Aimd(math.inf, documented=told),
    "CUBIC": lambda told: Cubic(math.inf, documented=told),
    "AdaptiveRate": lambda told: AdaptiveRate(1000 * told, documented=told, probe_after=2.0),
}
_HIGH_IS_BAD: Final = ("ratio", "throttled")


@dataclass(frozen=True, slots=True)
class Case:
    """One service."""

    quota: float
    burst: float
    latency: float
    retry_after: float | None
    factor: float
    """Of the quota: what the policy is told, where it is told wrong."""
    seed: int

    def service(self, steps: list[Step] | None = None) -> Service:
        """It, afresh."""
        jitter, constant = 0.4 * self.latency, 0.6 * self.latency
        return Service(steps or [(0.0, self.quota)], self.burst, constant, jitter, self.retry_after)

    @property
    def workers(self) -> int:
        """Enough not to be what limits."""
        return int(max(64, 3 * self.quota * self.latency))


def cases(kind: str, count: int) -> list[Case]:
    """Drawn from the grid, always the same."""
    chance = random.Random(f"{kind} 5")
    found = []
    for seed in range(count):
        quota = chance.choice([5.0, 12.0, 30.0, 50.0, 120.0, 300.0])
        burst = chance.choice([1.0, 2.0, 5.0] if kind == "tiny burst" else [quota, 2 * quota, 5 * quota])
        latency, after = chance.choice([0.02, 0.1, 0.4, 1.5]), chance.choice([None, None, 1.0])
        found.append(Case(quota, burst, latency, after, chance.choice([0.25, 0.5, 1.0, 2.0, 4.0]), seed))
    return found


def unknown(make: Make, case: Case) -> dict[str, float]:
    """40 s of work; told a wrong quota."""
    requests = 40 * case.quota
    run = Paced("run", work=requests, workers=case.workers, policy=make(case.factor * case.quota))
    World(case.service(), [run], until=400, seed=case.seed).run()
    end = run.done_at if math.isfinite(run.done_at) else 400 * requests / max(1, len(run.accepted))
    return {"ratio": max(1.0, (end - 1.2 * case.latency) / 40), "throttled": run.throttled_share}


def step(make: Make, case: Case) -> dict[str, float]:
    """The quota halves at 20 s and returns at 45 s."""
    quota = case.quota
    service = case.service([(0.0, quota), (20.0, quota / 2), (45.0, quota)])
    run = Paced("run", workers=case.workers, policy=make(quota))
    World(service, [run], until=70, seed=case.seed).run()
    use = (share_of(service, [run], begin, begin + 15) for begin in (30.0, 55.0))
    return dict(zip(("halved", "returned"), (min(1.0, part) for part in use), strict=True)) | {
        "throttled": run.throttled_share
    }


def shared(make: Make, case: Case) -> dict[str, float]:
    """Two to four that begin 0, 5 or 10 s apart; counted for a minute from 5 s after the last."""
    gap = random.Random(case.seed).choice([0.0, 5.0, 10.0])
    service = case.service()
    runs = [Paced(f"{n}", gap * n, workers=case.workers, policy=make(case.quota)) for n in range(2 + case.seed % 3)]
    begin = gap * (len(runs) - 1) + 5
    World(service, runs, until=begin + 60, seed=case.seed).run()
    throttled = sum(len(run.throttled) for run in runs) / sum(len(run.sent) for run in runs)
    fairness = jain([sum(at >= begin for at in run.accepted) for run in runs])
    return {"use": min(1.0, share_of(service, runs, begin, begin + 60)), "jain": fairness, "throttled": throttled}


def greedy(make: Make, case: Case) -> dict[str, float]:
    """Beside a loop of 50 calls that ignores throttling, from 5 to 35 s; and what it has back 10 s after that."""
    service = case.service()
    run = Paced("run", workers=case.workers, policy=make(case.quota))
    other = Legacy("legacy", begin=5, end=35, workers=50)
    World(service, [run, other], until=60, seed=case.seed).run()
    return {
        "got": share_of(service, [run], 10, 35),
        "after": min(1.0, share_of(service, [run], 45, 60)),
        "throttled": run.throttled_share,
    }


KINDS: Final[Mapping[str, Callable[[Make, Case], dict[str, float]]]] = {
    "unknown": unknown,
    "tiny burst": unknown,
    "step": step,
    "shared": shared,
    "greedy": greedy,
}


def jain(parts: list[int]) -> float:
    """1 for equal parts, 1/n when one has all."""
    return sum(parts) ** 2 / max(1, len(parts) * sum(part**2 for part in parts))


def scores(make: Make, kind: str, count: int) -> dict[str, tuple[float, float]]:
    """Each figure's mean, and the worst of twenty."""
    rows = [KINDS[kind](make, case) for case in cases(kind, count)]
    found = {}
    for key in rows[0]:
        values = sorted((row[key] for row in rows), reverse=key not in _HIGH_IS_BAD)
        found[key] = (mean(values), values[int(0.95 * len(values))])
    return found


def main() -> None:
    """Print the comparison."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    for kind in KINDS:
        for name, make in CANDIDATES.items():
            told = (f"{key} {usual:.3f} ({bad:.3f})" for key, (usual, bad) in scores(make, kind, count).items())
            print(f"{kind:10}  {name:12}  {'   '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
