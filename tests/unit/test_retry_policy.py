"""Delays and limits of retries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.retry_policy import RetryPolicy


@given(
    attempts=st.integers(-3, 2000),
    base=st.floats(0.01, 5),
    longest=st.floats(5, 600),
)
def test_equal_jitter_is_in_the_upper_half(attempts: int, base: float, longest: float) -> None:
    """Each wait is in the upper half of its exponential step and at most the maximum."""
    policy = RetryPolicy(base_delay=base, max_delay=longest)
    step = min(base * 2.0 ** min(max(attempts, 1) - 1, 100), longest)
    delay = policy.delay(attempts)
    assert step / 2 * 0.999 <= delay <= step * 1.001


def test_delay_is_spread() -> None:
    """The delays of one step cover most of their range."""
    policy = RetryPolicy()
    delays = [policy.delay(3) for _ in range(400)]
    assert min(delays) < 1.1
    assert max(delays) > 1.9


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(0.0, 0.0), (-5.0, 0.0), (0.2, 0.2), (17.0, 17.0), (300.0, 300.0), (86_400.0, 300.0), (float("inf"), 300.0)],
)
@pytest.mark.parametrize("attempts", [0, 1, 30])
def test_delay_retry_after_takes_precedence(asked: float, waited: float, attempts: int) -> None:
    """Retry-After is used, up to five minutes, after any number of attempts."""
    assert RetryPolicy().delay(attempts, asked) == waited


@given(limit=st.integers(1, 50), unknown=st.integers(1, 50), attempts=st.integers(0, 120))
def test_exhausted_at_the_limit(limit: int, unknown: int, attempts: int) -> None:
    """A thing is exhausted at its limit; with an unknown code, at the lower of two limits."""
    policy = RetryPolicy(limit, unknown)
    assert policy.exhausted(attempts) == (attempts >= limit)
    assert policy.exhausted(attempts, unknown=True) == (attempts >= min(limit, unknown))


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 3)])
def test_retry_policy_without_attempts_raises(limits: tuple[int, int]) -> None:
    """Both limits must be at least 1."""
    with pytest.raises(ValueError, match="at least 1"):
        RetryPolicy(*limits)


@pytest.mark.parametrize(("times", "step"), [(1, 0.1), (2, 0.2), (5, 1.6), (500, 20.0)])
def test_throttle_delay_is_one_round_trip_at_first(times: int, step: float) -> None:
    """A throttled request waits a round trip of 0.1 s with jitter, and longer if throttled again and again."""
    delays = [RetryPolicy().throttle_delay(0.1, times) for _ in range(200)]
    assert step / 2 <= min(delays) < max(delays) <= step
    assert max(delays) > 1.5 * min(delays)


def test_throttle_delay_retry_after_takes_precedence() -> None:
    """Retry-After is used, up to five minutes."""
    assert [RetryPolicy().throttle_delay(0.1, 9, after) for after in (0.0, 3.0, 900.0)] == [0.0, 3.0, 300.0]
