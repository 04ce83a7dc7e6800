"""Rule: what a policy makes of single answers: bounds, episodes, curves, arguments (whole runs: `test_lane.py`)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.ratelimit import AdaptiveRate, FixedRate, default_burst, documented_quota


def accept_steadily(policy: AdaptiveRate, start: float, seconds: float) -> float:
    """Let requests be accepted every 20 ms for so long; the time then."""
    now = start
    while now < start + seconds:
        now += 0.02
        policy.on_accepted(now - 0.01, now)
    return now


def test_a_fixed_rate_stays() -> None:
    """Neither throttles nor acceptance change a fixed rate."""
    policy = FixedRate(40)
    assert policy.on_throttled(0, 1, 5) == policy.on_accepted(1, 2) == policy.rate == 40
    assert policy.burst == default_burst(40)
    assert FixedRate(math.inf, burst=3).statistics().burst == 3


def test_it_starts_at_the_documented_quota_and_opens_up() -> None:
    """A ceiling above the documentation is reached by acceptance, not at once; then the burst is the default's."""
    policy = AdaptiveRate(100)
    assert (policy.rate, policy.burst) == (30, 1)
    accept_steadily(policy, 0, 0.5)
    assert 30 < policy.rate < 100
    accept_steadily(policy, 0.5, 5)
    assert (policy.rate, policy.burst) == (100, default_burst(100))


def test_a_ceiling_below_the_documented_quota_is_used_at_once() -> None:
    """What is both documented and allowed needs no opening."""
    assert AdaptiveRate(20).rate == 20
    assert AdaptiveRate(50, documented=50).rate == 50


def test_one_episode_lowers_once() -> None:
    """Throttles of requests that were under way at the cut change nothing; one started later is a new episode."""
    policy = AdaptiveRate(30)
    now = accept_steadily(policy, 0, 10)
    lowered = policy.on_throttled(now - 0.05, now, None)
    assert lowered < 30
    for step in range(1, 11):
        assert policy.on_accepted(now - 0.04, now + step / 1000) == lowered
        assert policy.on_throttled(now - 0.04, now + step / 1000, None) == lowered
    assert policy.statistics().throttle_events == 1
    assert policy.on_throttled(now + 0.02, now + 0.08, None) < lowered
    assert policy.statistics().throttle_events == 2


def test_a_throttle_after_a_quiet_time_means_a_little() -> None:
    """After many accepted requests the rate is soon back; a throttle before any takes it down by a fifth and more."""
    policy = AdaptiveRate(30)
    now = accept_steadily(policy, 0, 20)
    policy.on_throttled(now, now + 0.01, None)
    accept_steadily(policy, now + 0.01, 2.5)
    assert policy.rate == 30
    fresh_policy = AdaptiveRate(30)
    assert fresh_policy.on_throttled(0, 0.01, None) < 30 * 0.8


def test_it_comes_back_after_a_cut() -> None:
    """With nothing but acceptance the rate returns to the ceiling and stays there."""
    policy = AdaptiveRate(30)
    policy.on_throttled(0, 0.05, 1.0)
    accept_steadily(policy, 1.05, 40)
    assert policy.rate == 30


def test_idling_is_no_evidence() -> None:
    """An hour without requests raises the rate by no more than one answer does."""
    policy = AdaptiveRate(30)
    low = policy.on_throttled(0, 0.05, None)
    after = policy.on_accepted(3600, 3600.05)
    assert low < after < low * 1.1 < 30


def test_a_pause_is_no_evidence() -> None:
    """The time of a pause, extended by further throttles of the episode, does not count towards recovery."""
    policy = AdaptiveRate(30)
    low = policy.on_throttled(0, 0.05, 1.0)
    policy.on_throttled(0.01, 0.06, 5.0)
    assert policy.on_accepted(1.0, 4.0) == low
    assert policy.on_accepted(5.1, 5.2) > low


def test_probes_are_rarer_when_they_cost_a_pause() -> None:
    """Where the documented quota is reached, the hold before a probe grows with Retry-After."""
    rates = []
    for retry_after in (None, 2.0):
        policy = AdaptiveRate(200)
        now = accept_steadily(policy, 0, 2)
        policy.on_throttled(now, now, retry_after)
        accept_steadily(policy, now + (retry_after or 0), 12)
        rates.append(policy.rate)
    assert rates[0] > rates[1] * 1.2


def test_the_burst_is_one_after_a_cut() -> None:
    """A service that has just throttled is not met with a burst; later the chosen burst is back."""
    policy = AdaptiveRate(30, burst=4)
    now = accept_steadily(policy, 0, 5)
    assert policy.burst == 4
    policy.on_throttled(now, now, None)
    assert policy.burst == 1
    accept_steadily(policy, now, 3)
    assert policy.burst == 4


@given(
    ceiling=st.floats(0.1, 2000),
    floor=st.floats(0.05, 50),
    answers=st.lists(
        st.tuples(
            st.booleans(), st.floats(0, 100), st.floats(0, 5), st.one_of(st.none(), st.floats(-1, 100), st.just(0.0))
        ),
        max_size=200,
    ),
)
@settings(deadline=None)
def test_whatever_comes_the_rate_keeps_its_bounds(
    ceiling: float, floor: float, answers: list[tuple[bool, float, float, float | None]]
) -> None:
    """The rate is never above the ceiling nor below the floor (or the lower of ceiling and quota); a burst is >= 1."""
    policy = AdaptiveRate(ceiling, floor=floor)
    now = 0.0
    for accepted, gap, flight, retry_after in answers:
        now += gap
        before = policy.rate
        if accepted:
            rate = policy.on_accepted(now - flight, now)
        else:
            rate = policy.on_throttled(now - flight, now, retry_after)
            assert rate <= before
        assert rate == policy.rate
        assert min(floor, ceiling, 30) <= rate <= ceiling
        assert policy.burst >= 1


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_impossible_rates_are_refused(value: float) -> None:
    """Zero, less, and NaN are the caller's mistake wherever a rate is expected, and the message names it."""
    with pytest.raises(UsageError, match="the rate must be above 0"):
        FixedRate(value)
    with pytest.raises(UsageError, match="the ceiling must be above 0"):
        AdaptiveRate(value)
    with pytest.raises(UsageError, match="the floor must be above 0"):
        AdaptiveRate(1, floor=value)
    with pytest.raises(UsageError, match="the documented quota must be above 0"):
        AdaptiveRate(1, documented=value)


@pytest.mark.parametrize(
    ("region", "quota"),
    [
        ("eu-central-1", 30),
        ("us-east-1", 30),
        ("cn-north-1", 10),
        ("cn-northwest-1", 30),
        ("us-gov-west-1", 10),
        ("us-gov-east-1", 10),
        ("", 30),
    ],
)
def test_documented_quotas(region: str, quota: float) -> None:
    """30 a second, but 10 in China (Beijing) and the GovCloud Regions."""
    assert documented_quota(region) == quota


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 2), (30, 2), (50, 2), (100, 3), (1000, 21), (math.inf, math.inf)])
def test_the_default_burst_is_small(rate: float, burst: float) -> None:
    """Two up to 50/s, then 20 ms of the rate on top of one."""
    assert default_burst(rate) == burst


def test_a_burst_given_holds_until_the_first_cut() -> None:
    """The user's word about the burst counts from the beginning; after a throttle the service knows better."""
    policy = AdaptiveRate(20.0, burst=15.0)
    assert policy.burst == 15.0
    policy.on_throttled(1.0, 1.1, None)
    assert policy.burst == 1.0
