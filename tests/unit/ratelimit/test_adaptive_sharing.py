"""Rule: whole runs where the quota is not what was said, changes, or is shared: the figures that were promised."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.ratelimit import AdaptiveRate, limits_for_share
from benchmarks.simulation import PolicyClient, SdkLegacyClient, Service, Simulation, quota_utilization

SEED = pytest.mark.parametrize("seed", range(3))


def jain(values: list[int]) -> float:
    """1 for equal parts, 1/n when one has all."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def auto_policy(documented: float) -> AdaptiveRate:
    """The policy of `--rate auto`."""
    return AdaptiveRate(10 * documented, documented=documented, probe_after=2.0)


@SEED
@pytest.mark.parametrize("told", [200, None], ids=["told-200", "auto-12"])
def test_a_quota_that_is_not_what_was_said(told: float | None, seed: int) -> None:
    """50/s: 3,000 requests, told 200 or 12 and free to rise, end within 1.10 of the ideal, 2 % throttled at most."""
    run = PolicyClient("run", work=3000, policy=auto_policy(12) if told is None else AdaptiveRate(told))
    Simulation(Service([(0, 50)], 50), [run], seed=seed).run()
    assert run.done_at <= 1.10 * 60
    assert run.throttled_share <= 0.02


@SEED
@pytest.mark.parametrize("documented", [30, 50])
def test_a_quota_that_halves_and_returns(documented: float, seed: int) -> None:
    """10 s after each step at least 92 % of the quota is used until the next, and 3 % throttled at most."""
    service = Service([(0, 50), (25, 25), (50, 50)], 50)
    run = PolicyClient("run", policy=auto_policy(documented))
    Simulation(service, [run], until=75, seed=seed).run()
    assert quota_utilization(service, [run], 35, 50) >= 0.92
    assert quota_utilization(service, [run], 60, 75) >= 0.92
    assert run.throttled_share <= 0.03


@SEED
@pytest.mark.parametrize(("documented", "later"), [(50, 0), (50, 8), (30, 0)])
def test_two_runs_that_know_nothing_of_each_other(documented: float, later: float, seed: int) -> None:
    """They use 95 % of the quota together, have a fairness index of 0.95, and are throttled 3 % at most."""
    service = Service([(0, 50)], 50)
    runs = [
        PolicyClient("first", policy=auto_policy(documented)),
        PolicyClient("second", policy=auto_policy(documented), start=later),
    ]
    Simulation(service, runs, until=later + 60, seed=seed).run()
    assert quota_utilization(service, runs, later, later + 60) >= 0.95
    assert jain([sum(at >= later for at in run.accepted) for run in runs]) >= 0.95
    assert sum(len(run.throttled) for run in runs) <= 0.03 * sum(len(run.sent) for run in runs)


@pytest.mark.parametrize("quota", [50, 20], ids=["as-said", "lower"])
def test_a_share_is_never_overstepped(quota: float) -> None:
    """Half of 50/s in no window of 5 s more; where the quota is 20/s, half of that from the first seconds on."""
    ceiling, burst = limits_for_share(25)
    run = PolicyClient("run", policy=AdaptiveRate(ceiling, documented=ceiling, burst=burst, share=0.5))
    Simulation(Service([(0, quota)], quota), [run], until=60).run()
    assert run.peak_rate(5) <= 25
    late = run.sent[bisect_left(run.sent, 10.0) :]
    assert max(bisect_left(late, at + 5) - i for i, at in enumerate(late)) <= 5 * quota / 2


def test_a_greedy_neighbour_does_not_stop_it() -> None:
    """Beside a loop that ignores throttling it goes on, little as it gets, and has the quota back afterwards."""
    service = Service([(0, 50)], 50)
    run = PolicyClient("run", policy=AdaptiveRate(50, documented=50))
    greedy = SdkLegacyClient("greedy", workers=50, start=5, end=25)
    Simulation(service, [run, greedy], until=90).run()
    assert any(10 <= at < 25 for at in run.sent)
    assert quota_utilization(service, [run], 75, 90) >= 0.9


@given(
    ceiling=st.floats(1, 500),
    documented=st.floats(1, 500),
    answers=st.lists(st.tuples(st.integers(1, 80), st.booleans(), st.sampled_from([None, 0.0, 1.0])), max_size=30),
    share=st.sampled_from([1.0, 0.5]),
)
@settings(deadline=None, max_examples=50)
def test_it_is_deterministic_bounded_and_never_stuck(
    ceiling: float, documented: float, answers: list[tuple[int, bool, float | None]], share: float
) -> None:
    """Two that hear the same do the same, never above the ceiling; acceptance alone brings them back to it."""
    twins = [AdaptiveRate(ceiling, documented=documented, share=share) for _ in range(2)]
    now = 0.0
    for accepted, throttled, retry_after in answers:
        for _ in range(accepted):
            now += 1 / twins[0].rate
            assert len({twin.on_accepted(now - 0.05, now) for twin in twins}) == 1
        if throttled:
            now += 0.1
            assert len({twin.on_throttled(now - 0.05, now, retry_after) for twin in twins}) == 1
            now += retry_after or 0.0
        assert 0 < twins[0].rate <= ceiling
    begun = now
    while twins[0].rate < ceiling and now < begun + 3000:
        now += 1 / twins[0].rate
        twins[0].on_accepted(now - 0.05, now)
    assert twins[0].rate == ceiling or math.isclose(twins[0].rate, ceiling)
