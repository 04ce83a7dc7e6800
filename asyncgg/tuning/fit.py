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

__all__ = ["Fit", "Seen", "burst_of", "fit"]

_MOST_THROTTLES: Final = 400
"""That are paired with each other; more are thinned out."""
_ALIKE: Final = 0.7
"""Part of the largest burst seen that another must have to count as well."""


class Seen(NamedTuple):
    """One request: when it reached the service, in seconds, and whether it was throttled."""

    at: float
    throttled: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """A token bucket, as far as it showed itself."""

    rate: float
    """Tokens a second."""
    burst: float | None
    """Tokens that can be saved up; None when it was never seen to go from full to empty."""
    window: float
    """Seconds between the two throttles that tell the rate."""
    bursts: int = 0
    """How many times the burst was seen."""

    @property
    def rate_error(self) -> float:
        """What the rate may be wrong by: one request in the window."""
        return 1 / self.window


def fit(seen: Iterable[Seen], *, unsure: float = 0.0) -> Fit | None:
    """The bucket behind these requests, in any order; None unless two throttles have something accepted between them.

    It is taken to have been full before the first request. `unsure`: seconds by which the times may be wrong.
    """
    events = sorted(seen)
    found = _rate(events, unsure)
    if found is None:
        return None
    rate, window = found
    burst, times = burst_of(events, rate)
    return Fit(rate, burst, window, times)


def burst_of(seen: Iterable[Seen], rate: float) -> tuple[float | None, int]:
    """The burst of a bucket whose rate is known, and how often it was seen; None when it never was."""
    bursts = _bursts(sorted(seen), rate)
    # With the rate a little too high a bucket that was never refilled looks full at times: such bursts are small.
    bursts = [burst for burst in bursts if burst >= _ALIKE * max(bursts)]
    return (max(1.0, median(bursts)) if bursts else None), len(bursts)


def _rate(events: Sequence[Seen], unsure: float) -> tuple[float, float] | None:
    """The largest lower bound by which it is certain, and its window; a short one is uncertain by a request."""
    moments: list[tuple[float, int]] = []  # of throttles, with what was accepted before
    accepted = 0
    for at, throttled in events:
        if throttled:
            moments.append((at, accepted))
        else:
            accepted += 1
    moments = moments[:: 1 + len(moments) // _MOST_THROTTLES]
    best: tuple[float, float, float] | None = None
    for number, (begin, before) in enumerate(moments):
        for end, after in moments[number + 1 :]:
            if after - before < 2 or end <= begin:
                continue
            window = end - begin
            certain = (after - before - 1) / (window + 2 * unsure)
            if best is None or certain > best[0]:
                best = (certain, (after - before) / window, window)
    return None if best is None else best[1:]


def _bursts(events: Sequence[Seen], rate: float) -> list[float]:
    """What was in the bucket at each first throttle after it was full: the debt, and what was left.

    Less than one request was left; how much less is unknown by what the bucket loses from one request to the next.
    """
    found: list[float] = []
    debt, last, full = 0.0, events[0].at if events else 0.0, True
    for at, throttled in events:
        came = (at - last) * rate
        debt -= came
        last = at
        if debt <= 0:
            debt, full = 0.0, True
        if not throttled:
            debt += 1
        elif full:
            found.append(debt + (1 + min(1.0, came)) / 2)
            full = False
    return found
