"""Rate and burst of a service, measured from accepted requests."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.ratelimit.estimator import RefillMeter
from tests.support.rate_simulation import ServiceBucket


def accept_evenly(meter: RefillMeter, rate: float, seconds: float) -> None:
    """Accept `rate` requests per second for `seconds`, evenly."""
    for _ in range(round(rate * seconds)):
        meter.advance(1 / rate)
        meter.record_accepted()


def test_rate_between_two_throttles_is_the_mean() -> None:
    """40/s and 60/s for a second each, with an empty bucket before and after, give 50/s for any
    burst."""
    meter = RefillMeter()
    accept_evenly(meter, 40, 1)
    accept_evenly(meter, 60, 1)
    assert meter.rate(math.inf) == pytest.approx(50)
    assert meter.rate(20) == pytest.approx(50, rel=0.02)


def test_rate_includes_tokens_lost_while_full() -> None:
    """A bucket of 10 at 50/s that overflowed at 20/s and was emptied at 60/s gives 50/s, not the
    mean."""
    meter = RefillMeter()
    accept_evenly(meter, 20, 10)
    accept_evenly(meter, 60, 1)
    assert meter.rate(10) == pytest.approx(50, rel=0.05)
    assert meter.rate(math.inf) == pytest.approx(260 / 11)


def test_burst_is_the_excess_over_the_rate() -> None:
    """80/s for two seconds at 50/s need a burst of 60."""
    meter = RefillMeter()
    accept_evenly(meter, 80, 2)
    assert meter.burst(50) == pytest.approx(60, abs=1)
    assert meter.burst(100) == 1


def test_meter_memory_is_bounded() -> None:
    """After an hour the meter has at most 64 bins, and the rate is still exact."""
    meter = RefillMeter()
    accept_evenly(meter, 50, 3600)
    assert len(meter._bins) <= 64
    assert meter.rate(50) == pytest.approx(50, rel=0.01)
    assert meter.excess(49) == pytest.approx(3600)


def test_meter_without_requests_returns_zero_rate() -> None:
    """Without time and requests the rate is 0 and the burst 1."""
    meter = RefillMeter()
    assert meter.rate(5) == 0
    assert meter.burst(5) == 1


@given(
    quota=st.floats(20, 200),
    burst=st.integers(5, 100),
    paces=st.lists(st.tuples(st.floats(0.3, 2), st.floats(0.5, 5)), min_size=1, max_size=6),
)
@settings(deadline=None, max_examples=40)
def test_rate_is_a_lower_bound_for_any_pace(quota: float, burst: int, paces: list[tuple[float, float]]) -> None:
    """At any pace, the requests accepted between two throttles do not exceed the rate; a burst
    only adds."""
    service, meter, now = ServiceBucket(burst), RefillMeter(), 0.0
    service.tokens = 0.0
    for factor, seconds in paces:
        end = now + seconds
        while now < end:
            now += 1 / (factor * quota)
            meter.advance(1 / (factor * quota))
            if service.try_accept(now, quota):
                meter.record_accepted()
                continue
            least = meter.rate(math.inf)
            assert least * meter.seconds <= quota * meter.seconds + 1
            assert meter.rate(burst) >= least * 0.999
            meter = RefillMeter()
