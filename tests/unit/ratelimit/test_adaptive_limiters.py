"""The adaptive rate against services that do not count with one token bucket."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from statistics import mean

import pytest

from asyncgg.ratelimit import AdaptiveRate, RatePolicy
from asyncgg.service_limiters import FixedWindow, PartitionedBuckets, SlidingWindow
from asyncgg.testing import FixedRate
from benchmarks.simulation import PolicyClient, Service, Simulation

QUOTA, REQUESTS = 30.0, 600
SEEDS = range(4)

Limits = Callable[[int], Service]


def _service(**limits: object) -> Service:
    return Service([(0.0, QUOTA)], arrival_fraction=0.1, **({"burst": QUOTA} | limits))  # type: ignore[arg-type]


LIMITERS: dict[str, Limits] = {
    "token-bucket-30": lambda seed: _service(),
    "token-bucket-5": lambda seed: _service(burst=5.0),
    "fixed-window": lambda seed: _service(limiter=FixedWindow(QUOTA, QUOTA, 1.0)),
    "sliding-window": lambda seed: _service(limiter=SlidingWindow(QUOTA, QUOTA, 1.0)),
    "partitioned": lambda seed: _service(burst=50.0, limiter=PartitionedBuckets(QUOTA, 50.0, 8, Random(seed))),
    "delayed": lambda seed: _service(limiter=SlidingWindow(QUOTA, QUOTA, 1.0, delay=0.5)),
    "burst-2-retry-after": lambda seed: _service(burst=2.0, retry_after=1.0),
}


def measure(name: str, make_policy: Callable[[], RatePolicy]) -> tuple[float, float]:
    """Mean of makespan over requests / quota, and of the throttled share."""
    ratios, shares = [], []
    for seed in SEEDS:
        client = PolicyClient("run", work=REQUESTS, policy=make_policy())
        Simulation(LIMITERS[name](seed), [client], seed=seed).run()
        ratios.append(client.done_at / (REQUESTS / QUOTA))
        shares.append(client.throttled_share)
    return mean(ratios), mean(shares)


@cache
def oracle(name: str) -> float:
    """Makespan ratio of the best constant rate that is throttled at most 3 %."""
    results = [measure(name, lambda rate=rate: FixedRate(rate)) for rate in (QUOTA * n / 100 for n in range(86, 101))]  # type: ignore[misc]
    return min(ratio for ratio, share in results if share <= 0.03)


@pytest.mark.parametrize("name", LIMITERS)
def test_adaptive_rate_is_close_to_the_best_constant_rate(name: str) -> None:
    """Without knowing the limiter the run takes at most 2 % longer; at most 3 % is throttled."""
    ratio, throttled_share = measure(name, lambda: AdaptiveRate(QUOTA, documented=QUOTA))
    assert ratio <= 1.02 * oracle(name)
    assert throttled_share <= 0.03


@pytest.mark.parametrize("name", ["token-bucket-30", "token-bucket-5", "burst-2-retry-after"])
def test_adaptive_rate_token_bucket_with_known_quota_is_not_throttled(name: str) -> None:
    """A token bucket of the known quota is fully used without a throttle."""
    ratio, throttled_share = measure(name, lambda: AdaptiveRate(QUOTA, documented=QUOTA))
    assert ratio <= 1.01
    assert throttled_share == 0
