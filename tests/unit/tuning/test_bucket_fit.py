"""Rule: what is read off throttles: the bucket that made them, from traffic of many shapes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.tuning.bucket_fit import BucketFit, Observation, fit_bucket


class ServiceBucket:
    """A service's bucket, full at first; written apart from all others."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.updated_at = burst, 0.0
        self.observations: list[Observation] = []

    def send(self, at: float, jitter: float = 0.0) -> bool:
        """One request; whether it was throttled. It is noted `jitter` too late."""
        self.tokens = min(self.burst, self.tokens + (at - self.updated_at) * self.rate)
        self.updated_at = at
        throttled = self.tokens < 1
        if not throttled:
            self.tokens -= 1
        self.observations.append(Observation(at + jitter, throttled))
        return throttled

    def send_until_throttled(self, at: float, pace: float) -> float:
        """Ask at this pace; the time of the throttle."""
        while True:
            at += 1 / pace
            if self.send(at):
                return at


def require_fit(observations: list[Observation], uncertainty: float = 0.0) -> BucketFit:
    """The fit, which must be there."""
    result = fit_bucket(observations, uncertainty=uncertainty)
    assert result is not None
    return result


@given(rate=st.floats(2, 300), share=st.floats(0.1, 3), above=st.floats(1.3, 3))
@settings(max_examples=30, deadline=None)
def test_rate_and_burst_come_out(rate: float, share: float, above: float) -> None:
    """Emptied, kept empty, filled and emptied again: the rate within 1 %, the burst within about a request."""
    burst = max(2.0, rate * share)
    bucket = ServiceBucket(rate, burst)
    at = bucket.send_until_throttled(0.0, rate * above)
    end = at + max(10.0, 100 / rate)
    while at < end:
        at = bucket.send_until_throttled(at, rate + 0.7)
    bucket.send_until_throttled(at + 1.5 * burst / rate, rate * above)
    result = require_fit(bucket.observations)
    assert result.rate == pytest.approx(rate, rel=0.01)
    assert result.burst == pytest.approx(burst, abs=1.0 + 0.02 * burst)


@given(rate=st.floats(2, 300), burst=st.floats(1, 500), data=st.data())
@settings(max_examples=80, deadline=None)
def test_the_rate_is_never_far_too_high(rate: float, burst: float, data: st.DataObject) -> None:
    """Whatever the traffic was, no more than one request in the window is added to the true rate."""
    bucket = ServiceBucket(rate, burst)
    at = 0.0
    for gap in data.draw(st.lists(st.floats(0, 3 / rate), min_size=5, max_size=200)):
        at += gap
        bucket.send(at)
    result = fit_bucket(bucket.observations)
    if result is not None:
        assert result.rate <= rate + result.rate_error + 1e-6


def test_what_spills_over_is_not_taken_for_the_rate() -> None:
    """A long quiet time between throttles, in which the bucket overflowed, does not lower the rate."""
    bucket = ServiceBucket(10, 5)
    at = bucket.send_until_throttled(0.0, 30)
    for _ in range(5):
        at = bucket.send_until_throttled(at, 10.7)
    bucket.send_until_throttled(at + 60, 30)
    assert require_fit(bucket.observations).rate == pytest.approx(10, rel=0.02)


def test_times_that_are_a_little_wrong_do_little_harm() -> None:
    """With arrivals misjudged by up to 20 ms the rate is within 2 % and the burst within a tenth."""
    rng = random.Random(1)
    bucket = ServiceBucket(120, 60)
    at = bucket.send_until_throttled(0.0, 200)
    for _ in range(8):
        at = bucket.send_until_throttled(at, 120.7)
    bucket.send_until_throttled(at + 2, 200)
    observations = [Observation(one.at + rng.uniform(-0.02, 0.02), one.throttled) for one in bucket.observations]
    result = require_fit(observations, uncertainty=0.01)
    assert result.rate == pytest.approx(120, rel=0.02)
    assert result.burst == pytest.approx(60, rel=0.1)


def test_too_little_tells_nothing() -> None:
    """Nothing, nothing throttled, one throttle: no bucket is claimed."""
    assert fit_bucket([]) is None
    assert fit_bucket([Observation(float(at), False) for at in range(9)]) is None
    assert fit_bucket([Observation(0.0, False), Observation(1.0, False), Observation(2.0, True)]) is None
