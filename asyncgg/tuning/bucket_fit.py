"""Rule: the token bucket behind what was let in and what was throttled is read off here; pure.

Whoever is throttled has met an empty bucket. Between two such moments no more can have been let in than came in, so
each pair of throttles bounds the rate from below, and exactly wherever nothing spilled over meanwhile: the largest
bound is the rate. Once that is known, the debt at the first throttle after the bucket was full is the burst.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

__all__ = ["BucketFit", "Observation", "estimate_burst", "fit_bucket"]

_MAX_THROTTLES: Final = 400
"""That are paired with each other; more are thinned out."""
_MIN_BURST_SHARE: Final = 0.7
"""Part of the largest burst seen that another must have to count as well."""


class Observation(NamedTuple):
    """One request: when it reached the service, in seconds, and whether it was throttled."""

    at: float
    throttled: bool


@dataclass(frozen=True, slots=True)
class BucketFit:
    """A token bucket, as far as it showed itself."""

    rate: float
    """Tokens a second."""
    burst: float | None
    """Tokens that can be saved up; None when it was never seen to go from full to empty."""
    window: float
    """Seconds between the two throttles that tell the rate."""
    burst_samples: int = 0
    """How many times the burst was seen."""

    @property
    def rate_error(self) -> float:
        """What the rate may be wrong by: one request in the window."""
        return 1 / self.window


def fit_bucket(observations: Iterable[Observation], *, uncertainty: float = 0.0) -> BucketFit | None:
    """The bucket behind these requests, in any order; None unless two throttles have something accepted between them.

    It is taken to have been full before the first request. `uncertainty`: seconds by which the times may be wrong.
    """
    events = sorted(observations)
    estimate = _estimate_rate(events, uncertainty)
    if estimate is None:
        return None
    rate, window = estimate
    burst, samples = estimate_burst(events, rate)
    return BucketFit(rate, burst, window, samples)


def estimate_burst(observations: Iterable[Observation], rate: float) -> tuple[float | None, int]:
    """The burst of a bucket whose rate is known, and how often it was seen; None when it never was."""
    bursts = _burst_samples(sorted(observations), rate)
    # With the rate a little too high a bucket that was never refilled looks full at times: such bursts are small.
    bursts = [burst for burst in bursts if burst >= _MIN_BURST_SHARE * max(bursts)]
    return (max(1.0, median(bursts)) if bursts else None), len(bursts)


def _estimate_rate(events: Sequence[Observation], uncertainty: float) -> tuple[float, float] | None:
    """The largest lower bound by which it is certain, and its window; a short one is uncertain by a request."""
    throttles: list[tuple[float, int]] = []  # of throttles, with what was accepted before
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
    """What was in the bucket at each first throttle after it was full: the debt, and what was left.

    Less than one request was left; how much less is unknown by what the bucket loses from one request to the next.
    """
    samples: list[float] = []
    debt, last_at, was_full = 0.0, events[0].at if events else 0.0, True
    for at, throttled in events:
        refilled = (at - last_at) * rate
        debt -= refilled
        last_at = at
        if debt <= 0:
            debt, was_full = 0.0, True
        if not throttled:
            debt += 1
        elif was_full:
            samples.append(debt + (1 + min(1.0, refilled)) / 2)
            was_full = False
    return samples
