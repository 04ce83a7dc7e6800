"""Tests of asyncgg.service_limiters."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.service_limiters import LimiterKind, LimiterSpec, QuotaBucket, ServiceLimiter

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
    """Every kind refuses a rate or burst that cannot admit a request or is not a number."""
    for kind in LimiterKind:
        with pytest.raises(UsageError):
            LimiterSpec(kind).check_quota(rate, burst)


def admitted(spec: LimiterSpec, times: list[float], rate: float = 30.0, burst: float = 30.0) -> int:
    """Count the requests that a new limiter admits at these times."""
    limiter = spec.create(rate, burst, Random(1))
    return sum(limiter.try_acquire(at) for at in times)


def test_fixed_window_counts_from_zero_in_each_window() -> None:
    """Twice the limit passes around the border of two windows, no more."""
    spec = LimiterSpec(LimiterKind.FIXED_WINDOW)
    assert admitted(spec, [0.95] * 40) == 30
    assert admitted(spec, [0.95] * 40 + [1.05] * 40) == 60
    assert admitted(LimiterSpec(LimiterKind.FIXED_WINDOW, window=2.0), [0.95] * 70 + [1.05] * 70) == 60


def test_sliding_window_counts_the_last_window() -> None:
    """The limit holds in any window; the border of a second does not matter."""
    spec = LimiterSpec(LimiterKind.SLIDING_WINDOW)
    assert admitted(spec, [0.95] * 40 + [1.05] * 40 + [1.94] * 40) == 30
    assert admitted(spec, [0.95] * 40 + [1.951] * 40) == 60


def test_delayed_counter_admits_everything_until_it_knows() -> None:
    """All requests pass during the delay; then they count for a whole window."""
    spec = LimiterSpec(LimiterKind.DELAYED, delay=0.5)
    assert admitted(spec, [0.1] * 100) == 100
    assert admitted(spec, [0.1] * 100 + [0.61] * 10 + [1.59] * 10) == 100
    assert admitted(spec, [0.1] * 100 + [1.61] * 10) == 110


def test_partitions_share_the_burst_and_throttle_below_the_rate() -> None:
    """Eight buckets admit the whole burst only if hit evenly, and throttle at less than the rate."""
    spec = LimiterSpec(LimiterKind.PARTITIONED, partitions=8)
    assert admitted(spec, [0.0] * 1000, burst=48.0) == 48
    assert 30 < admitted(spec, [0.0] * 48, burst=48.0) < 48
    evenly = [number / 29 for number in range(600)]
    assert admitted(LimiterSpec(), evenly) == 600 > admitted(spec, evenly)
    assert admitted(spec, [0.0] * 1000, burst=1.0) == 8


@pytest.mark.parametrize("kind", list(LimiterKind))
def test_request_is_admitted_after_the_wait(kind: LimiterKind) -> None:
    """Retry-After is long enough for the request, and a wait of nearly as long is not."""

    def throttled_limiter() -> ServiceLimiter:
        limiter = LimiterSpec(kind, partitions=1).create(10.0, 5.0, Random(1))
        for number in range(40):
            limiter.try_acquire(number / 40)
        limiter.try_acquire(1.24)
        while limiter.try_acquire(1.9):
            if kind is LimiterKind.DELAYED:
                break
        return limiter

    wait = throttled_limiter().seconds_until_admitted(1.9)
    assert throttled_limiter().try_acquire(1.9 + wait + 1e-6)
    assert wait == 0 or not throttled_limiter().try_acquire(1.9 + 0.9 * wait)


@pytest.mark.parametrize("kind", list(LimiterKind))
def test_limits_change_and_infinity_admits_all(kind: LimiterKind) -> None:
    """A new rate applies to what follows; without a quota everything is admitted."""
    limiter = LimiterSpec(kind).create(10.0, 8.0, Random(1))
    limiter.set_limits(math.inf, 8.0, 1.0)
    assert all(limiter.try_acquire(1.0) for _ in range(500))


@pytest.mark.parametrize("values", [{"partitions": 0}, {"window": 0.0}, {"window": math.inf}, {"delay": -1.0}])
def test_invalid_parameter_raises_with_name(values: dict[str, Any]) -> None:
    """An impossible parameter is a usage error that names it."""
    with pytest.raises(UsageError, match=next(iter(values))):
        LimiterSpec(LimiterKind.DELAYED, **values)
