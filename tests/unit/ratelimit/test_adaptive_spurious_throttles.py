"""The cost of spurious throttles, in whole runs and reply by reply."""

from __future__ import annotations

import pytest

from asyncgg.ratelimit import AdaptiveRate
from tests.support.rate_simulation import RunCase, simulate

WITH_AND_WITHOUT_RETRY_AFTER = pytest.mark.parametrize("retry_after", [None, 1.0], ids=["no-header", "retry-after-1"])


def accept_replies(policy: AdaptiveRate, start: float, replies: int, gap: float = 0.02) -> float:
    """Accept `replies` requests, `gap` seconds apart; return the time at the end."""
    for step in range(1, replies + 1):
        policy.on_accepted(start + gap * step - 0.01, start + gap * step)
    return start + gap * replies


def makespan_ratio(quota: float, requests: int, *spurious_throttles: int, retry_after: float | None = None) -> float:
    """Makespan over requests / quota with the quota as ceiling and only these throttles."""
    case = RunCase(quota, quota, 3, requests, retry_after=retry_after, refused_arrivals=frozenset(spurious_throttles))
    result = simulate(case, AdaptiveRate(quota))
    assert result.throttled == len(spurious_throttles)
    return result.ratio


@pytest.mark.parametrize("arrival", [3, 5, 12, 50, 80])
def test_spurious_throttle_while_ramping_costs_little(arrival: int) -> None:
    """At 100/s, 400 requests take at most 1.25 of the ideal, 2,000 at most 1.10."""
    assert makespan_ratio(100, 400, arrival) <= 1.25
    assert makespan_ratio(100, 2000, arrival) <= 1.10


@pytest.mark.parametrize("arrival", [2, 3, 8, 15, 22, 30])
@pytest.mark.parametrize(("quota", "limit"), [(50, 1.05), (30, 1.04)])
def test_spurious_throttle_near_documented_quota_costs_little(quota: float, limit: float, arrival: int) -> None:
    """At 50/s and 30/s, 1,000 requests take at most 1.05 and 1.04 of the ideal."""
    assert makespan_ratio(quota, 1000, arrival) <= limit


@pytest.mark.parametrize("arrival", [3, 5, 12])
def test_spurious_throttle_with_pause_costs_little_more_than_the_pause(arrival: int) -> None:
    """With a pause of 1 s, 2,000 requests at 100/s end at most 1.5 s later."""
    delay_ratio = makespan_ratio(100, 2000, arrival, retry_after=1.0) - makespan_ratio(100, 2000)
    assert 1.0 <= delay_ratio * 2000 / 100 <= 1.5


@pytest.mark.parametrize("quota", [30, 50, 100])
@pytest.mark.parametrize("when", [(0.25, 0.5, 0.75), (0.01, 0.33, 0.66)], ids=["spread", "early"])
def test_three_spurious_throttles_cost_little(quota: int, when: tuple[float, ...]) -> None:
    """A run of 20 s with three spurious throttles takes at most 1.08 of the ideal."""
    assert makespan_ratio(quota, 20 * quota, *(int(20 * quota * part) for part in when)) <= 1.08


@WITH_AND_WITHOUT_RETRY_AFTER
@pytest.mark.parametrize("burst", [2, 5])
def test_steady_excess_is_not_verified_without_end(retry_after: float | None, burst: float) -> None:
    """With a ceiling of 50/s and a quota of 45/s, at most 1 % of the requests is throttled."""
    result = simulate(RunCase(45, 50, burst, 2000, retry_after=retry_after, jitter=0.003), AdaptiveRate(50))
    assert 0 < result.throttled_share <= 0.01
    assert result.ratio <= (1.1 if retry_after is None else 1.3)


@pytest.mark.parametrize("ceiling", [30, 100], ids=["ceiling", "ramping"])
def test_verification_ends_with_the_tenth_reply(ceiling: float) -> None:
    """The rate is a tenth lower, with a burst of 1, until ten later requests are accepted; then
    it is restored."""
    policy = AdaptiveRate(ceiling)
    now = accept_replies(policy, 0, 5)
    before = policy.rate
    assert policy.on_throttled(now - 0.01, now, None) == pytest.approx(0.9 * before)
    for _ in range(20):
        policy.on_accepted(now - 0.01, now + 0.01)
    now = accept_replies(policy, now + 0.01, 9)
    assert policy.rate == pytest.approx(0.9 * before)
    assert policy.burst == policy.statistics().throttle_events == 1
    accept_replies(policy, now, 1)
    assert before <= policy.rate < 1.05 * before


@pytest.mark.parametrize("ceiling", [30, 100], ids=["ceiling", "ramping"])
def test_verification_second_throttle_backs_off(ceiling: float) -> None:
    """A throttle during the verification lowers the rate by a third for a long time."""
    policy = AdaptiveRate(ceiling)
    now = accept_replies(policy, 0, 5)
    before = policy.rate
    policy.on_throttled(now, now + 0.01, None)
    now = accept_replies(policy, now + 0.01, 5)
    assert policy.on_throttled(now, now + 0.01, None) == pytest.approx(0.9 * 0.8 * 0.9 * before)
    accept_replies(policy, now + 0.01, 80)
    assert policy.rate < 0.9 * before


@WITH_AND_WITHOUT_RETRY_AFTER
def test_throttle_far_above_documented_quota_is_verified_without_pause(retry_after: float | None) -> None:
    """At three times the documented quota a throttle is verified only if it brings no pause."""
    policy = AdaptiveRate(200)
    now = accept_replies(policy, 0, 60)
    before = policy.rate
    assert before > 90
    lowered = policy.on_throttled(now, now + 0.01, retry_after)
    if retry_after is None:
        assert lowered == pytest.approx(0.9 * before)
    else:
        assert lowered < 0.75 * before


def test_throttle_before_any_accepted_request_backs_off() -> None:
    """Without an accepted request there is no verification."""
    assert AdaptiveRate(30).on_throttled(0, 0.06, None) == pytest.approx(30 * 0.8 * 0.9)


def test_ceiling_reached_again_allows_a_new_verification() -> None:
    """At the ceiling after a recovery, the next throttle is verified again."""
    policy = AdaptiveRate(4)
    now = accept_replies(policy, 0, 5, 0.25)
    for _ in range(2):  # verification, then back-off
        policy.on_throttled(now, now, None)
    now = accept_replies(policy, now, 70, 0.25)
    assert policy.rate == 4
    for _ in range(2):
        policy.on_throttled(now, now, None)
        assert policy.rate == pytest.approx(0.9 * 4)
        now = accept_replies(policy, now, 20, 0.25)
        assert policy.rate == 4


@WITH_AND_WITHOUT_RETRY_AFTER
def test_long_run_has_few_throttles(retry_after: float | None) -> None:
    """With a ceiling of 200/s and a quota of 50/s, at most 0.8 % of 7,500 requests are
    throttled, in 40 events."""
    policy = AdaptiveRate(200)
    result = simulate(RunCase(50, 200, 20, 7500, retry_after=retry_after), policy)
    assert result.throttled_share <= 0.008
    assert policy.statistics().throttle_events <= 40
