"""Estimate a token bucket from the requests that it accepted and throttled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

_MAX_THROTTLES: Final = 400
"""Throttles compared in pairs; more are thinned out."""
_MIN_BURST_SHARE: Final = 0.7
"""Burst samples below this share of the largest one are ignored."""


class Observation(NamedTuple):
    """One request: its arrival at the service in seconds, and whether it was throttled."""

    at: float
    throttled: bool


@dataclass(frozen=True, slots=True)
class BucketFit:
    """The token bucket that explains the observations."""

    rate: float
    """Tokens per second."""
    burst: float | None
    """Capacity in tokens; None if the bucket was never observed going from full to empty."""
    window: float
    """Seconds between the two throttles that determine the rate."""
    burst_samples: int = 0
    """Number of measurements of the burst."""

    @property
    def rate_error(self) -> float:
        """Error of the rate: one request in the window."""
        return 1 / self.window


def fit_bucket(observations: Iterable[Observation], *, uncertainty: float = 0.0) -> BucketFit | None:
    """Fit a bucket that is full before the first request; the observations can be in any order.

    Return None unless two throttles have accepted requests between them. `uncertainty` is the error
    of the times in seconds.
    """
    events = sorted(observations)
    estimate = _estimate_rate(events, uncertainty)
    if estimate is None:
        return None
    rate, window = estimate
    burst, samples = estimate_burst(events, rate)
    return BucketFit(rate, burst, window, samples)


def estimate_burst(observations: Iterable[Observation], rate: float) -> tuple[float | None, int]:
    """Return the burst of a bucket with a known rate (or None) and the number of samples."""
    bursts = _burst_samples(sorted(observations), rate)
    # If the rate is slightly too high, a bucket can look full that is not: such samples are small.
    bursts = [burst for burst in bursts if burst >= _MIN_BURST_SHARE * max(bursts)]
    return (max(1.0, median(bursts)) if bursts else None), len(bursts)


def percentile(sorted_values: Sequence[float], fraction: float) -> float:
    """Return the value below which a fraction (0 to 1) of the values lies; NaN without values."""
    return sorted_values[min(len(sorted_values) - 1, int(fraction * len(sorted_values)))] if sorted_values else math.nan


def timing_uncertainty(sorted_latencies: Sequence[float]) -> float:
    """Return the error of an arrival time estimated as the middle of a request, in seconds."""
    return (percentile(sorted_latencies, 0.9) - percentile(sorted_latencies, 0.1)) / 4 if sorted_latencies else 0.0


def _estimate_rate(events: Sequence[Observation], uncertainty: float) -> tuple[float, float] | None:
    """Return the rate and the window of the pair of throttles with the largest lower bound."""
    # A throttled request found the bucket empty. Between two throttles the bucket accepted at most
    # what flowed in, so each pair is a lower bound of the rate, and exact if nothing overflowed in
    # between. A bound is uncertain by one request, which counts more in a short window.
    throttles: list[tuple[float, int]] = []  # time, requests accepted before
    accepted = 0
    for at, throttled in events:
        if throttled:
            throttles.append((at, accepted))
        else:
            accepted += 1
    throttles = throttles[:: 1 + len(throttles) // _MAX_THROTTLES]
    best: tuple[float, float, float] | None = None
    for number, (start, accepted_before) in enumerate(throttles):
        for end, accepted_after in throttles[number + 1 :]:
            if accepted_after - accepted_before < 2 or end <= start:
                continue
            window = end - start
            lower_bound = (accepted_after - accepted_before - 1) / (window + 2 * uncertainty)
            if best is None or lower_bound > best[0]:
                best = (lower_bound, (accepted_after - accepted_before) / window, window)
    return None if best is None else best[1:]


def _burst_samples(events: Sequence[Observation], rate: float) -> list[float]:
    """Return the capacity seen at each first throttle after the bucket was full: spent plus left."""
    # Less than one token was left. The inflow since the previous request bounds how much less.
    samples: list[float] = []
    spent, last_at, was_full = 0.0, events[0].at if events else 0.0, True
    for at, throttled in events:
        refilled = (at - last_at) * rate
        spent -= refilled
        last_at = at
        if spent <= 0:
            spent, was_full = 0.0, True
        if not throttled:
            spent += 1
        elif was_full:
            samples.append(spent + (1 + min(1.0, refilled)) / 2)
            was_full = False
    return samples
