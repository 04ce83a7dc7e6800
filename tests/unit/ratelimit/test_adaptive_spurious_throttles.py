"""Rule: what a throttle costs that means nothing, in whole runs and answer by answer, and what is not doubted."""

from __future__ import annotations

import pytest

from asyncgg.ratelimit import AdaptiveRate
from tests.support.rate_simulation import RunCase, simulate

WITH_AND_WITHOUT_RETRY_AFTER = pytest.mark.parametrize("retry_after", [None, 1.0], ids=["no-header", "retry-after-1"])


def accept_replies(policy: AdaptiveRate, start: float, replies: int, gap: float = 0.02) -> float:
    """Let so many requests be accepted, a gap of seconds apart; the time then."""
    for step in range(1, replies + 1):
        policy.on_accepted(start + gap * step - 0.01, start + gap * step)
    return start + gap * replies


def makespan_ratio(quota: float, requests: int, *spurious_throttles: int, retry_after: float | None = None) -> float:
    """Makespan over requests / quota when the quota is known, and throttles are the given accidents and no others."""
    case = RunCase(quota, quota, 3, requests, retry_after=retry_after, refused_arrivals=frozenset(spurious_throttles))
    result = simulate(case, AdaptiveRate(quota))
    assert result.throttled == len(spurious_throttles)
    return result.ratio


@pytest.mark.parametrize("arrival", [3, 5, 12, 50, 80])
def test_an_accident_in_the_opening_costs_little(arrival: int) -> None:
    """Told 100/s and given it: one accident, and 400 requests end within 1.25 of the ideal, 2,000 within 1.10."""
    assert makespan_ratio(100, 400, arrival) <= 1.25
    assert makespan_ratio(100, 2000, arrival) <= 1.10


@pytest.mark.parametrize("arrival", [2, 3, 8, 15, 22, 30])
@pytest.mark.parametrize(("quota", "limit"), [(50, 1.05), (30, 1.04)])
def test_an_accident_near_the_documented_quota_costs_little(quota: float, limit: float, arrival: int) -> None:
    """The same at 50/s and at 30/s, which needs no opening: 1,000 requests end within 1.05 and 1.04 of the ideal."""
    assert makespan_ratio(quota, 1000, arrival) <= limit


@pytest.mark.parametrize("arrival", [3, 5, 12])
def test_an_accident_with_a_pause_costs_little_more_than_the_pause(arrival: int) -> None:
    """With a pause of 1 s, 2,000 requests at 100/s end at most 1.5 s later than without the accident."""
    delay_ratio = makespan_ratio(100, 2000, arrival, retry_after=1.0) - makespan_ratio(100, 2000)
    assert 1.0 <= delay_ratio * 2000 / 100 <= 1.5


@pytest.mark.parametrize("quota", [30, 50, 100])
@pytest.mark.parametrize("when", [(0.25, 0.5, 0.75), (0.01, 0.33, 0.66)], ids=["spread", "early"])
def test_three_accidents_cost_little(quota: int, when: tuple[float, ...]) -> None:
    """Three accidents in a run of 20 s, and it ends within 1.08 of the ideal."""
    assert makespan_ratio(quota, 20 * quota, *(int(20 * quota * part) for part in when)) <= 1.08


@WITH_AND_WITHOUT_RETRY_AFTER
@pytest.mark.parametrize("burst", [2, 5])
def test_a_steady_excess_is_not_doubted_for_ever(retry_after: float | None, burst: float) -> None:
    """Told 50/s, given 45/s, so little less that a doubt shows nothing: at most 1 % of what is sent is throttled."""
    result = simulate(RunCase(45, 50, burst, 2000, retry_after=retry_after, jitter=0.003), AdaptiveRate(50))
    assert 0 < result.throttled_share <= 0.01
    assert result.ratio <= (1.1 if retry_after is None else 1.3)


@pytest.mark.parametrize("ceiling", [30, 100], ids=["ceiling", "opening"])
def test_a_doubt_ends_with_the_tenth_reply(ceiling: float) -> None:
    """The rate is a tenth lower, with a burst of 1, until ten requests started later are accepted; then all goes on."""
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


@pytest.mark.parametrize("ceiling", [30, 100], ids=["ceiling", "opening"])
def test_a_second_throttle_ends_the_doubt(ceiling: float) -> None:
    """A throttle of a request started in doubt is believed: the rate drops by a third, and takes long to return."""
    policy = AdaptiveRate(ceiling)
    now = accept_replies(policy, 0, 5)
    before = policy.rate
    policy.on_throttled(now, now + 0.01, None)
    now = accept_replies(policy, now + 0.01, 5)
    assert policy.on_throttled(now, now + 0.01, None) == pytest.approx(0.9 * 0.8 * 0.9 * before)
    accept_replies(policy, now + 0.01, 80)
    assert policy.rate < 0.9 * before


@WITH_AND_WITHOUT_RETRY_AFTER
def test_a_throttle_far_above_the_documented_quota_is_doubted_if_that_is_cheap(retry_after: float | None) -> None:
    """At three times the documented quota a throttle is doubted if it brings no pause, and believed if it does."""
    policy = AdaptiveRate(200)
    now = accept_replies(policy, 0, 60)
    before = policy.rate
    assert before > 90
    lowered = policy.on_throttled(now, now + 0.01, retry_after)
    if retry_after is None:
        assert lowered == pytest.approx(0.9 * before)
    else:
        assert lowered < 0.75 * before


def test_a_throttle_before_anything_was_accepted_is_believed() -> None:
    """Where nothing speaks for the rate, there is nothing to doubt with."""
    assert AdaptiveRate(30).on_throttled(0, 0.06, None) == pytest.approx(30 * 0.8 * 0.9)


def test_a_ceiling_reached_again_is_doubted_afresh() -> None:
    """Once the rate has overcome a cut, the next throttle is met with a doubt again; the doubts before do not count."""
    policy = AdaptiveRate(4)
    now = accept_replies(policy, 0, 5, 0.25)
    for _ in range(2):  # doubted, believed
        policy.on_throttled(now, now, None)
    now = accept_replies(policy, now, 70, 0.25)
    assert policy.rate == 4
    for _ in range(2):
        policy.on_throttled(now, now, None)
        assert policy.rate == pytest.approx(0.9 * 4)
        now = accept_replies(policy, now, 20, 0.25)
        assert policy.rate == 4


@WITH_AND_WITHOUT_RETRY_AFTER
def test_in_the_long_run_few_are_throttled(retry_after: float | None) -> None:
    """Told 200/s, given 50/s, of 7,500 requests at most 0.8 % are throttled, in at most 40 episodes."""
    policy = AdaptiveRate(200)
    result = simulate(RunCase(50, 200, 20, 7500, retry_after=retry_after), policy)
    assert result.throttled_share <= 0.008
    assert policy.statistics().throttle_events <= 40
