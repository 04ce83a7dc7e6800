"""Tests of asyncgg.simulator.quota."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.simulator.quota import QuotaBucket

RATES = st.floats(0.1, 1000.0)
BURSTS = st.floats(1.0, 50.0)
GAPS = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60)


@given(rate=RATES, burst=BURSTS, gaps=GAPS)
def test_admits_at_most_rate_times_window_plus_burst(rate: float, burst: float, gaps: list[float]) -> None:
    """Any window admits rate * window + burst requests, and no request is throttled below that."""
    quota, now, admitted = QuotaBucket(rate, burst), 0.0, list[float]()
    for gap in gaps:
        now += gap
        full = any(
            len(admitted) - first + 1 > rate * (now - start) + burst - 1e-6
            for first, start in enumerate([*admitted, now])
        )
        if quota.try_acquire(now):
            admitted.append(now)
        else:
            assert full
    for first, start in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= rate * (admitted[last] - start) + burst + 1e-6


@given(rate=RATES, burst=BURSTS)
def test_seconds_until_admitted_is_exact(rate: float, burst: float) -> None:
    """The next request is admitted after this time and not shortly before."""
    quota = QuotaBucket(rate, burst)
    while quota.try_acquire(0.0):
        pass
    wait = quota.seconds_until_admitted(0.0)
    assert not quota.try_acquire(wait * 0.99)
    assert quota.try_acquire(wait * 1.0001)


def test_set_limits_keeps_saved_tokens() -> None:
    """A new rate applies from the change on; saved tokens stay up to the new burst."""
    quota = QuotaBucket(10.0, 20.0)
    for _ in range(20):
        assert quota.try_acquire(0.0)
    quota.set_limits(1.0, 20.0, 0.5)
    assert [quota.try_acquire(0.5) for _ in range(6)] == [True] * 5 + [False]
    quota.set_limits(1.0, 2.0, 100.0)
    assert [quota.try_acquire(100.0) for _ in range(3)] == [True, True, False]


def test_infinite_rate_admits_every_request() -> None:
    """Without a quota every request is admitted, also without elapsed time."""
    quota = QuotaBucket(math.inf, 1.0)
    assert all(quota.try_acquire(5.0) for _ in range(1000))
    assert quota.seconds_until_admitted(5.0) == 0.0


def test_clock_going_back_refills_nothing() -> None:
    """Time that goes back refills nothing and is not counted twice."""
    quota = QuotaBucket(1.0, 1.0, now=10.0)
    assert quota.try_acquire(10.0)
    assert not quota.try_acquire(5.0)
    assert not quota.try_acquire(10.5)
    assert quota.try_acquire(11.0)


@pytest.mark.parametrize(
    ("rate", "burst"), [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, 0.5), (1.0, math.inf), (1.0, math.nan)]
)
def test_invalid_limits_raise(rate: float, burst: float) -> None:
    """Invalid limits are a usage error at the start and for a change."""
    with pytest.raises(UsageError):
        QuotaBucket(rate, burst)
    with pytest.raises(UsageError):
        QuotaBucket(1.0, 1.0).set_limits(rate, burst, 0.0)
