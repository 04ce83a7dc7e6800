"""Tests of asyncgg.tuning.bucket_fit."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.tuning.bucket_fit import BucketFit, Observation, fit_bucket


class ServiceBucket:
    """A token bucket that is full at first, independent of the code under test."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.updated_at = burst, 0.0
        self.observations: list[Observation] = []

    def send(self, at: float, jitter: float = 0.0) -> bool:
        """Send a request, recorded `jitter` seconds too late; return whether it was throttled."""
        self.tokens = min(self.burst, self.tokens + (at - self.updated_at) * self.rate)
        self.updated_at = at
        throttled = self.tokens < 1
        if not throttled:
            self.tokens -= 1
        self.observations.append(Observation(at + jitter, throttled))
        return throttled

    def send_until_throttled(self, at: float, rate: float) -> float:
        """Send at this rate; return the time of the first throttle."""
        while True:
            at += 1 / rate
            if self.send(at):
                return at


def require_fit(observations: list[Observation], uncertainty: float = 0.0) -> BucketFit:
    """Return the fit; fail without one."""
    result = fit_bucket(observations, uncertainty=uncertainty)
    assert result is not None
    return result


@given(rate=st.floats(2, 300), share=st.floats(0.1, 3), above=st.floats(1.3, 3))
@settings(max_examples=30, deadline=None)
def test_fit_bucket_estimates_rate_and_burst(rate: float, share: float, above: float) -> None:
    """The rate is within 1 % and the burst within about one request."""
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
def test_fit_bucket_any_traffic_rate_at_most_its_error_too_high(rate: float, burst: float, data: st.DataObject) -> None:
    """For any traffic, the estimate exceeds the rate by at most one request in the window."""
    bucket = ServiceBucket(rate, burst)
    at = 0.0
    for gap in data.draw(st.lists(st.floats(0, 3 / rate), min_size=5, max_size=200)):
        at += gap
        bucket.send(at)
    result = fit_bucket(bucket.observations)
    if result is not None:
        assert result.rate <= rate + result.rate_error + 1e-6


def test_fit_bucket_overflow_does_not_lower_the_rate() -> None:
    """A long idle time between throttles, in which the bucket overflows, has no effect."""
    bucket = ServiceBucket(10, 5)
    at = bucket.send_until_throttled(0.0, 30)
    for _ in range(5):
        at = bucket.send_until_throttled(at, 10.7)
    bucket.send_until_throttled(at + 60, 30)
    assert require_fit(bucket.observations).rate == pytest.approx(10, rel=0.02)


def test_fit_bucket_inexact_times_give_a_close_estimate() -> None:
    """With arrival errors of up to 20 ms the rate is within 2 % and the burst within 10 %."""
    rng = random.Random(1)
    bucket = ServiceBucket(120, 60)
    at = bucket.send_until_throttled(0.0, 200)
    for _ in range(8):
        at = bucket.send_until_throttled(at, 120.7)
    bucket.send_until_throttled(at + 2, 200)
    observations = [Observation(at + rng.uniform(-0.02, 0.02), throttled) for at, throttled in bucket.observations]
    result = require_fit(observations, uncertainty=0.01)
    assert result.rate == pytest.approx(120, rel=0.02)
    assert result.burst == pytest.approx(60, rel=0.1)


def test_fit_bucket_fewer_than_two_throttles_is_none() -> None:
    """No requests, no throttles and one throttle give no estimate."""
    assert fit_bucket([]) is None
    assert fit_bucket([Observation(float(at), False) for at in range(9)]) is None
    assert fit_bucket([Observation(0.0, False), Observation(1.0, False), Observation(2.0, True)]) is None
