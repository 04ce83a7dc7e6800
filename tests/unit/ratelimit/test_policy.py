"""Rate policies on single replies: bounds, back-offs, arguments; and the documented quotas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.events import RateReason
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
    assert policy.rate == 30
    assert 1 < policy.burst < default_burst(30)
    accept_steadily(policy, 0, 0.5)
    assert 30 < policy.rate < 100
    accept_steadily(policy, 0.5, 20)
    assert (policy.rate, policy.burst) == (100, default_burst(100))


def test_adaptive_rate_ceiling_below_documented_quota_is_used_at_once() -> None:
    """A ceiling below the documented quota is used at once. At the quota the rate starts one request
    per second lower, and gets there within seconds; a share starts at its rate."""
    assert AdaptiveRate(20).rate == 20
    assert AdaptiveRate(29.5).rate == 29
    assert AdaptiveRate(2.5, documented=2.5).rate == 2
    assert AdaptiveRate(20, documented=20, share=0.5).rate == 20
    policy = AdaptiveRate(50, documented=50)
    assert policy.rate == 49
    accept_steadily(policy, 0, 2)
    assert 49.3 < policy.rate < 49.5
    accept_steadily(policy, 2, 4)
    assert (policy.rate, policy.burst) == (50, default_burst(50))


def test_on_throttled_requests_in_flight_are_one_event() -> None:
    """Throttles of requests sent before the rate was lowered are part of the same event. Together they
    lower the rate to the accepted share, as if 80 requests had been accepted before."""
    policy = AdaptiveRate(30)
    now = accept_steadily(policy, 0, 10)
    lowered = policy.on_throttled(now - 0.05, now, None)
    assert lowered == pytest.approx(80 / 81 * 30)
    for step in range(1, 11):
        policy.on_accepted(now - 0.04, now + step / 1000)
        policy.on_throttled(now - 0.04, now + step / 1000, None)
    assert policy.rate == pytest.approx(90 / 101 * 30)
    now = accept_steadily(policy, now, 2)
    assert policy.on_throttled(now, now + 0.08, None) < lowered
    assert policy.statistics().throttle_events == 2


def test_on_throttled_without_accepted_requests_lowers_the_rate_with_time() -> None:
    """While nothing is accepted, the rate is three requests in as many seconds as that has lasted;
    the first accepted request restores it."""
    policy = AdaptiveRate(30)
    now = accept_steadily(policy, 0, 6)
    rates = [policy.on_throttled(now + trip, now + trip + 0.1, None) for trip in (0, 0.1, 0.4, 1.0, 3.0)]
    assert rates == pytest.approx([80 / 81 * 30, 80 / 81 * 30, 3 / 0.4, 3 / 1.0, 3 / 3.0])
    assert policy.reason is RateReason.BLOCKED
    assert policy.on_accepted(now + 4, now + 4.1) == pytest.approx(80 / 81 * 30, rel=0.001)
    assert policy.statistics().reason is RateReason.ACCEPTED
    assert policy.statistics().throttle_events == 1


def test_on_throttled_early_events_lower_the_rate_to_the_measured_one() -> None:
    """If a third of the requests is accepted, the rate falls towards a third."""
    policy = AdaptiveRate(30)
    now = accept_steadily(policy, 0, 5)
    for _ in range(60):
        for accepted in (False, False, True):
            now += 1 / policy.rate
            if accepted:
                policy.on_accepted(now - 0.01, now)
            else:
                policy.on_throttled(now - 0.01, now, None)
    assert policy.rate < 15


def test_on_accepted_returns_to_the_ceiling() -> None:
    """Accepted requests alone bring the rate back to the ceiling."""
    policy = AdaptiveRate(30)
    policy.on_throttled(0, 0.05, 1.0)
    accept_steadily(policy, 1.05, 90)
    assert policy.rate == 30


def test_on_accepted_without_limit_does_not_raise_the_rate() -> None:
    """Replies raise the rate only if their requests had to wait for the limiter."""
    policy = AdaptiveRate(300, documented=30)
    for step in range(2000):
        policy.on_accepted(step, step + 0.05, limited=False)
    assert policy.rate == 30
    for step in range(2000, 3000):
        policy.on_accepted(step, step + 0.05)
    assert policy.rate == 300


def test_on_accepted_after_idle_time_raises_the_rate_once() -> None:
    """An hour without requests raises the rate no more than one reply does."""
    policy = AdaptiveRate(30)
    policy.on_throttled(0, 0.05, None)
    now = 0.1
    for _ in range(10):
        now += 0.1
        low = policy.on_accepted(now - 0.01, now)
    after = policy.on_accepted(now + 3600, now + 3600.05)
    assert low < after < low * 1.01 < 30


def test_pauses_make_the_rate_rise_slowly() -> None:
    """An event with a pause is expensive, so the next one is risked later."""
    rates = []
    for retry_after in (None, 2.0):
        policy = AdaptiveRate(60, documented=60)
        now = accept_steadily(policy, 0, 2)
        policy.on_throttled(now, now, retry_after)
        accept_steadily(policy, now + (retry_after or 0), 1.5)
        rates.append(policy.rate)
    assert rates[0] > rates[1]


def test_share_is_lowered_by_overload_for_a_minute() -> None:
    """With half of an assumed quota, early throttles limit the rate to half of a lower quota."""
    policy = AdaptiveRate(25, documented=25, share=0.5)
    now = accept_steadily(policy, 0, 2)
    for _ in range(3):
        policy.on_throttled(now, now + 0.01, None)
        for step in range(1, 7):
            policy.on_accepted(now + 0.01, now + 0.01 + step / 100)
        now += 0.1
    assert policy.rate == pytest.approx(0.5 * 0.8 * 25, rel=0.1)
    assert policy.reason is not RateReason.QUIET
    now = accept_steadily(policy, now, 55)
    assert policy.rate <= 0.5 * 25
    accept_steadily(policy, now, 120)
    assert policy.rate == 25


def test_burst_is_smaller_below_the_ceiling() -> None:
    """The configured burst applies at the ceiling; during a throttle event the burst is 1, then 5 ms
    of the rate for late timers."""
    policy = AdaptiveRate(30, burst=4)
    now = accept_steadily(policy, 0, 6)
    assert policy.burst == 4
    policy.on_throttled(now, now, None)
    assert policy.burst == 1
    now = accept_steadily(policy, now, 0.5)
    assert policy.burst == pytest.approx(1 + 0.005 * policy.rate)
    accept_steadily(policy, now, 20)
    assert (policy.rate, policy.burst) == (30, 4)


@given(
    ceiling=st.floats(0.1, 2000),
    answers=st.lists(
        st.tuples(
            st.booleans(), st.floats(0, 100), st.floats(0, 5), st.one_of(st.none(), st.floats(-1, 100), st.just(0.0))
        ),
        max_size=200,
    ),
)
@settings(deadline=None)
def test_adaptive_rate_stays_within_bounds(
    ceiling: float, answers: list[tuple[bool, float, float, float | None]]
) -> None:
    """The rate stays between the floor, a fiftieth of the quota, and the ceiling; the burst is at
    least 1."""
    policy = AdaptiveRate(ceiling)
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
        assert min(ceiling, 30) / 50 <= rate <= ceiling
        assert policy.burst >= 1


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_adaptive_rate_invalid_number_raises(value: float) -> None:
    """Zero, negative numbers and NaN raise an error that names the parameter."""
    with pytest.raises(UsageError, match="ceiling must be greater"):
        AdaptiveRate(value)
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


@pytest.mark.parametrize(
    ("rate", "burst"), [(0.5, 1.01), (30, 1.6), (50, 2), (100, 3), (1000, 21), (math.inf, math.inf)]
)
def test_default_burst_follows_the_rate(rate: float, burst: float) -> None:
    """One token plus 20 ms of the rate."""
    assert default_burst(rate) == burst
