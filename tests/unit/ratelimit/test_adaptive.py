"""Runs of bucket and adaptive policy against a simulated quota: makespan and throttles."""

from __future__ import annotations

from statistics import mean

import pytest

from asyncgg.ratelimit import AdaptiveRate
from asyncgg.testing import FixedRate
from tests.support.rate_simulation import RunCase, ServiceBucket, simulate

WITH_AND_WITHOUT_RETRY_AFTER = pytest.mark.parametrize("retry_after", [None, 1.0], ids=["no-header", "retry-after-1"])


@WITH_AND_WITHOUT_RETRY_AFTER
@pytest.mark.parametrize(("burst", "jitter"), [(1, 0), (5, 0), (5, 0.01), (50, 0), (50, 0.01), (100, 0), (100, 0.01)])
def test_adaptive_rate_finds_a_quota_far_below_the_ceiling(
    retry_after: float | None, burst: float, jitter: float
) -> None:
    """At 50/s with a ceiling of 200/s the makespan is at most 1.15 of the ideal, 7 % throttled.

    The limit is 1.4 if each throttle pauses for longer than the burst of the service.
    """
    result = simulate(RunCase(50, 200, burst, retry_after=retry_after, jitter=jitter), AdaptiveRate(200))
    assert result.ratio <= (1.4 if retry_after and burst < 50 else 1.15)
    assert 0 < result.throttled_share <= 0.07


@WITH_AND_WITHOUT_RETRY_AFTER
@pytest.mark.parametrize("burst", [2, 3, 7, 10, 20])
@pytest.mark.parametrize("latency", [0.03, 0.1])
def test_adaptive_rate_other_bursts_and_latencies(retry_after: float | None, burst: float, latency: float) -> None:
    """Similar limits hold for bursts and latencies that were not used for tuning."""
    case = RunCase(50, 200, burst, retry_after=retry_after, jitter=0.003, latency=latency)
    result = simulate(case, AdaptiveRate(200))
    assert result.ratio <= (1.5 if retry_after else 1.15)
    assert result.throttled_share <= 0.07


@pytest.mark.parametrize("burst", [2, 5, 50])
@pytest.mark.parametrize("quota", [10, 30, 50])
def test_adaptive_rate_known_quota_is_fully_used(quota: float, burst: float) -> None:
    """With the true quota as ceiling no request is throttled and the run takes at most 1.01 of
    the ideal."""
    policy = AdaptiveRate(quota, documented=quota)
    result = simulate(RunCase(quota, quota, burst), policy)
    assert result.ratio <= 1.01
    assert result.throttled == 0
    assert policy.statistics().throttle_events == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("quota", [10, 30, 50])
def test_fixed_rate_with_jitter_is_not_throttled(quota: float, seed: int) -> None:
    """At the rate of the quota, 30 ms of jitter each way stays within a burst of 5."""
    result = simulate(RunCase(quota, quota, 5, jitter=0.03, latency=0.08, seed=seed), FixedRate(quota))
    assert result.throttled == 0


@WITH_AND_WITHOUT_RETRY_AFTER
@pytest.mark.parametrize("burst", [1, 5, 20])
@pytest.mark.parametrize("leave", [17.0, 22.0, 30.0])
def test_adaptive_rate_yields_to_other_clients_and_recovers(
    retry_after: float | None, burst: float, leave: float
) -> None:
    """When others take 10 of 30/s the mean rate falls to about 20, or 28 between pauses. Five seconds
    after they leave it is at least 27; with pauses, which make probing expensive, at least 24.5
    after 40 s."""
    case = RunCase(
        30, 30, burst, 1800, retry_after=retry_after, jitter=0, background_rate=lambda at: 10.0 if at < leave else 0.0
    )
    result = simulate(case, AdaptiveRate(30))
    assert 14 < mean(result.rate_at(leave - n / 10) for n in range(50)) < (29 if retry_after else 26)
    assert result.rate_at(leave + (40 if retry_after else 5)) >= (24.5 if retry_after else 27)


@pytest.mark.parametrize(("quota", "ceiling"), [(10, 1000), (2, 30)])
@pytest.mark.parametrize("burst", [5, 50])
def test_adaptive_rate_finds_a_tiny_quota(quota: float, ceiling: float, burst: float) -> None:
    """A quota many times below the ceiling and the documented quota is used without many
    throttles."""
    result = simulate(RunCase(quota, ceiling, burst, 600, retry_after=1.0), AdaptiveRate(ceiling))
    assert result.ratio <= 1.6
    assert result.throttled_share <= 0.23


def test_simulate_is_deterministic() -> None:
    """The same case gives exactly the same result."""
    case = RunCase(50, 200, 5, 300, retry_after=1.0, jitter=0.02)
    assert simulate(case, AdaptiveRate(200)) == simulate(case, AdaptiveRate(200))


def test_service_bucket_is_strict() -> None:
    """The service of these tests accepts its burst, then its rate, and no more."""
    quota = ServiceBucket(2)
    assert [quota.try_accept(at, 10) for at in (0.0, 0.0, 0.0, 0.1, 0.1, 0.25, 5.0, 5.0, 5.0)] == [
        True, True, False, True, False, True, True, True, False,
    ]  # fmt: skip
