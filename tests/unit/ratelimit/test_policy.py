"""Rate policies on single replies: bounds, back-offs, arguments; and the documented quotas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.ratelimit import AdaptiveRate, default_burst, documented_quota


def accept_steadily(policy: AdaptiveRate, start: float, seconds: float) -> float:
    """Accept a request every 20 ms for `seconds`; return the time at the end."""
    now = start
    while now < start + seconds:
        now += 0.02
        policy.on_accepted(now - 0.01, now)
    return now


def test_adaptive_rate_ramps_from_documented_quota_to_ceiling() -> None:
    """The rate grows from the documented quota to a higher ceiling; then the default burst
    applies."""
    policy = AdaptiveRate(100)
    assert (policy.rate, policy.burst) == (30, 1)
    accept_steadily(policy, 0, 0.5)
    assert 30 < policy.rate < 100
    accept_steadily(policy, 0.5, 5)
    assert (policy.rate, policy.burst) == (100, default_burst(100))


def test_adaptive_rate_ceiling_below_documented_quota_is_used_at_once() -> None:
    """A rate within ceiling and documented quota needs no ramp."""
    assert AdaptiveRate(20).rate == 20
    assert AdaptiveRate(50, documented=50).rate == 50


def test_on_throttled_in_flight_requests_lower_the_rate_once() -> None:
    """Throttles of requests sent before a back-off are ignored; a later one is a new throttle
    event."""
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


def test_on_throttled_cost_depends_on_accepted_requests() -> None:
    """After many accepted requests the rate recovers soon; before any, a throttle costs a fifth
    or more."""
    policy = AdaptiveRate(30)
    now = accept_steadily(policy, 0, 20)
    policy.on_throttled(now, now + 0.01, None)
    accept_steadily(policy, now + 0.01, 2.5)
    assert policy.rate == 30
    unused_policy = AdaptiveRate(30)
    assert unused_policy.on_throttled(0, 0.01, None) < 30 * 0.8


def test_on_accepted_returns_to_the_ceiling() -> None:
    """Accepted requests alone bring the rate back to the ceiling."""
    policy = AdaptiveRate(30)
    policy.on_throttled(0, 0.05, 1.0)
    accept_steadily(policy, 1.05, 40)
    assert policy.rate == 30


def test_on_accepted_after_idle_time_raises_the_rate_once() -> None:
    """An hour without requests raises the rate no more than one reply does."""
    policy = AdaptiveRate(30)
    low = policy.on_throttled(0, 0.05, None)
    after = policy.on_accepted(3600, 3600.05)
    assert low < after < low * 1.1 < 30


def test_on_accepted_during_a_pause_does_not_raise_the_rate() -> None:
    """The time of a pause, extended by further throttles, does not count towards recovery."""
    policy = AdaptiveRate(30)
    low = policy.on_throttled(0, 0.05, 1.0)
    policy.on_throttled(0.01, 0.06, 5.0)
    assert policy.on_accepted(1.0, 4.0) == low
    assert policy.on_accepted(5.1, 5.2) > low


def test_hold_grows_with_retry_after() -> None:
    """At the documented quota the hold before a probe grows with Retry-After."""
    rates = []
    for retry_after in (None, 2.0):
        policy = AdaptiveRate(200)
        now = accept_steadily(policy, 0, 2)
        policy.on_throttled(now, now, retry_after)
        accept_steadily(policy, now + (retry_after or 0), 12)
        rates.append(policy.rate)
    assert rates[0] > rates[1] * 1.2


def test_burst_is_one_after_a_back_off() -> None:
    """The burst is 1 right after a back-off; later the configured burst returns."""
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
def test_adaptive_rate_stays_within_bounds(
    ceiling: float, floor: float, answers: list[tuple[bool, float, float, float | None]]
) -> None:
    """The rate stays between the floor (or the lower of ceiling and quota) and the ceiling; the
    burst is at least 1."""
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
def test_adaptive_rate_invalid_number_raises(value: float) -> None:
    """Zero, negative numbers and NaN raise an error that names the parameter."""
    with pytest.raises(UsageError, match="ceiling must be greater"):
        AdaptiveRate(value)
    with pytest.raises(UsageError, match="floor must be greater"):
        AdaptiveRate(1, floor=value)
    with pytest.raises(UsageError, match="documented quota must be greater"):
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
def test_documented_quota_depends_on_region(region: str, quota: float) -> None:
    """30 requests per second; 10 in China (Beijing) and the GovCloud Regions."""
    assert documented_quota(region) == quota


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 2), (30, 2), (50, 2), (100, 3), (1000, 21), (math.inf, math.inf)])
def test_default_burst_follows_the_rate(rate: float, burst: float) -> None:
    """2 up to 50/s, then 1 plus 20 ms of the rate."""
    assert default_burst(rate) == burst


def test_burst_configured_is_used_until_the_first_back_off() -> None:
    """A configured burst is used from the start until the first throttle."""
    policy = AdaptiveRate(20.0, burst=15.0)
    assert policy.burst == 15.0
    policy.on_throttled(1.0, 1.1, None)
    assert policy.burst == 1.0
