"""Rule: what is read off accepted requests and throttles: the service's rate and burst, where that is possible."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.ratelimit.gauge import RefillMeter
from tests.support.rate_simulation import ServiceBucket


def accept_evenly(gauge: RefillMeter, rate: float, seconds: float) -> None:
    """Accept so many requests a second, evenly, for so long."""
    for _ in range(round(rate * seconds)):
        gauge.advance(1 / rate)
        gauge.record_accepted()


def test_between_two_throttles_the_service_gave_its_rate() -> None:
    """40/s for a second and 60/s for a second, empty before and after: it gives 50/s, whatever its burst."""
    gauge = RefillMeter()
    accept_evenly(gauge, 40, 1)
    accept_evenly(gauge, 60, 1)
    assert gauge.rate(math.inf) == pytest.approx(50)
    assert gauge.rate(20) == pytest.approx(50, rel=0.02)


def test_what_ran_over_is_made_up_for() -> None:
    """10 s at 20/s overfill a bucket of 10 that gets 50/s; then 60/s for a second empty it: 50/s, not the mean."""
    gauge = RefillMeter()
    accept_evenly(gauge, 20, 10)
    accept_evenly(gauge, 60, 1)
    assert gauge.rate(10) == pytest.approx(50, rel=0.05)
    assert gauge.rate(math.inf) == pytest.approx(260 / 11)


def test_the_burst_is_what_was_taken_beyond_the_rate() -> None:
    """At 80/s for two seconds, with 50/s coming in, 60 were saved up."""
    gauge = RefillMeter()
    accept_evenly(gauge, 80, 2)
    assert gauge.burst(50) == pytest.approx(60, abs=1)
    assert gauge.burst(100) == 1


def test_a_long_time_takes_little_room_and_stays_exact() -> None:
    """After an hour the record is as short as after a minute, and the rate is still right."""
    gauge = RefillMeter()
    accept_evenly(gauge, 50, 3600)
    assert len(gauge._bins) <= 64
    assert gauge.rate(50) == pytest.approx(50, rel=0.01)
    assert gauge.excess(49) == pytest.approx(3600)


def test_nothing_was_accepted_says_nothing() -> None:
    """Without time or requests there is no rate, and the least burst."""
    gauge = RefillMeter()
    assert gauge.rate(5) == 0
    assert gauge.burst(5) == 1


@given(
    quota=st.floats(20, 200),
    burst=st.integers(5, 100),
    paces=st.lists(st.tuples(st.floats(0.3, 2), st.floats(0.5, 5)), min_size=1, max_size=6),
)
@settings(deadline=None, max_examples=40)
def test_from_one_throttle_to_the_next_never_more_than_the_rate(
    quota: float, burst: int, paces: list[tuple[float, float]]
) -> None:
    """Whatever the pace: what was accepted since the bucket was empty is no more than its rate; a burst only adds."""
    service, gauge, now = ServiceBucket(burst), RefillMeter(), 0.0
    service.tokens = 0.0
    for factor, seconds in paces:
        end = now + seconds
        while now < end:
            now += 1 / (factor * quota)
            gauge.advance(1 / (factor * quota))
            if service.try_accept(now, quota):
                gauge.record_accepted()
                continue
            least = gauge.rate(math.inf)
            assert least * gauge.seconds <= quota * gauge.seconds + 1
            assert gauge.rate(burst) >= least * 0.999
            gauge = RefillMeter()
