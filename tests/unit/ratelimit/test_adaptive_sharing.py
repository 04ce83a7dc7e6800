"""Runs with a wrong, changing or shared quota."""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import mean

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncgg.ratelimit import AdaptiveRate, limits_for_share
from benchmarks.simulation import PolicyClient, SdkLegacyClient, Service, Simulation, quota_utilization

SEED = pytest.mark.parametrize("seed", range(3))


def jain(values: list[int]) -> float:
    """1 for equal parts, 1/n when one has all."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def exploring_policy(documented: float) -> AdaptiveRate:
    """The policy of `--explore`."""
    return AdaptiveRate(10 * documented, documented=documented, explore_after=2.0)


@SEED
@pytest.mark.parametrize("ceiling", [200, None], ids=["ceiling-200", "auto-12"])
def test_adaptive_rate_wrong_quota_is_corrected(ceiling: float | None, seed: int) -> None:
    """At 50/s, 3,000 requests with a ceiling of 200 or a documented quota of 12 take at most
    1.06 of the ideal."""
    run = PolicyClient("run", work=3000, policy=exploring_policy(12) if ceiling is None else AdaptiveRate(ceiling))
    Simulation(Service([(0, 50)], 50), [run], seed=seed).run()
    assert run.done_at <= 1.06 * 60
    assert run.throttled_share <= 0.05


@SEED
@pytest.mark.parametrize("documented", [30, 50])
def test_adaptive_rate_follows_a_changing_quota(documented: float, seed: int) -> None:
    """10 s after each change at least 92 % of the quota is used; at most 5 % of the requests are
    throttled."""
    service = Service([(0, 50), (25, 25), (50, 50)], 50)
    run = PolicyClient("run", policy=exploring_policy(documented))
    Simulation(service, [run], until=75, seed=seed).run()
    assert quota_utilization(service, [run], 35, 50) >= 0.92
    assert quota_utilization(service, [run], 60, 75) >= 0.92
    assert run.throttled_share <= 0.05


@SEED
@pytest.mark.parametrize("later", [0, 8])
def test_two_runs_share_a_quota_fairly(later: float, seed: int) -> None:
    """Two runs use 95 % of the quota with a fairness index of 0.98, at most 11 % throttled."""
    service = Service([(0, 50)], 50)
    runs = [
        PolicyClient("first", policy=AdaptiveRate(50, documented=50)),
        PolicyClient("second", policy=AdaptiveRate(50, documented=50), start=later),
    ]
    Simulation(service, runs, until=later + 60, seed=seed).run()
    assert quota_utilization(service, runs, later, later + 60) >= 0.95
    assert jain([sum(at >= later for at in run.accepted) for run in runs]) >= 0.98
    assert sum(len(run.throttled) for run in runs) <= 0.11 * sum(len(run.sent) for run in runs)


@pytest.mark.parametrize(("quota", "used"), [(50, 0.89), (30, 0.8)])
def test_quota_is_used_when_a_neighbour_leaves(quota: float, used: float) -> None:
    """In the three seconds after the other run has left, about nine tenths of 50/s are used; at 30/s
    a run has fewer requests that can notice it."""
    shares = []
    for seed in range(16):
        leave = 20 + seed * 0.6
        service = Service([(0, quota)], quota, arrival_fraction=0.1)
        run = PolicyClient("run", policy=AdaptiveRate(quota, documented=quota))
        neighbour = PolicyClient("neighbour", policy=AdaptiveRate(quota, documented=quota), end=leave)
        Simulation(service, [run, neighbour], until=leave + 3, seed=seed).run()
        shares.append(quota_utilization(service, [run], leave, leave + 3))
    assert mean(shares) >= used


@pytest.mark.parametrize("quota", [50, 20], ids=["as-assumed", "lower"])
def test_share_is_never_exceeded(quota: float) -> None:
    """No window of 5 s exceeds half of 50/s; with a quota of 20/s, half of that after the first
    seconds."""
    ceiling, burst = limits_for_share(25)
    run = PolicyClient("run", policy=AdaptiveRate(ceiling, documented=ceiling, burst=burst, share=0.5))
    Simulation(Service([(0, quota)], quota), [run], until=60).run()
    assert run.peak_rate(5) <= 25
    late = run.sent[bisect_left(run.sent, 10.0) :]
    assert max(bisect_left(late, at + 5) - i for i, at in enumerate(late)) <= 5 * quota / 2


def test_adaptive_rate_survives_a_greedy_client() -> None:
    """Next to a client that ignores throttling the run continues, and recovers the quota
    afterwards."""
    service = Service([(0, 50)], 50)
    run = PolicyClient("run", policy=AdaptiveRate(50, documented=50))
    greedy = SdkLegacyClient("greedy", workers=50, start=5, end=25)
    Simulation(service, [run, greedy], until=90).run()
    assert any(10 <= at < 25 for at in run.sent)
    assert quota_utilization(service, [run], 75, 90) >= 0.95


@given(
    ceiling=st.floats(1, 500),
    documented=st.floats(1, 500),
    answers=st.lists(st.tuples(st.integers(1, 80), st.booleans(), st.sampled_from([None, 0.0, 1.0])), max_size=30),
    share=st.sampled_from([1.0, 0.5]),
)
@example(
    ceiling=457.2068962852591,
    documented=1.5,
    answers=[(7, True, None), (1, True, None), (1, False, None), (1, True, None)],
    share=0.5,
)
@settings(deadline=None, max_examples=50)
def test_adaptive_rate_is_deterministic_bounded_and_recovers(
    ceiling: float, documented: float, answers: list[tuple[int, bool, float | None]], share: float
) -> None:
    """Equal replies give equal rates within the ceiling; accepted requests alone raise the rate up
    to it.

    With a share the rate rises linearly, so a high ceiling is not reached in the time of this test.
    """
    policies = [AdaptiveRate(ceiling, documented=documented, share=share) for _ in range(2)]
    now = 0.0
    for accepted, throttled, retry_after in answers:
        for _ in range(accepted):
            now += 1 / policies[0].rate
            assert len({policy.on_accepted(now - 0.05, now) for policy in policies}) == 1
        if throttled:
            now += 0.1
            assert len({policy.on_throttled(now - 0.05, now, retry_after) for policy in policies}) == 1
            now += retry_after or 0.0
        assert 0 < policies[0].rate <= ceiling
    after_recovery = []
    for end in (now + 1500, now + 3000):  # the longest hold is 900 s
        while policies[0].rate < ceiling and now < end:
            now += 1 / policies[0].rate
            policies[0].on_accepted(now - 0.05, now)
        after_recovery.append(policies[0].rate)
    assert math.isclose(after_recovery[1], ceiling) or (share < 1 and after_recovery[1] > after_recovery[0])
