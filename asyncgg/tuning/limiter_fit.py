"""Find the kind of limiter that explains best which requests were accepted and throttled."""

# Each kind predicts, from the requests accepted before, how many more would be admitted. The prediction is
# compared with each reply; the arrival times are estimates, so a prediction near the limit is uncertain.

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.testing import LimiterKind, LimiterSpec
from asyncgg.tuning.bucket_fit import BucketFit, Observation

_CLEARLY_BETTER: Final = 15.0
"""Difference of the log likelihoods from which on a kind is clearly better than another. It is large,
because partitions can look like a bucket of a higher rate."""
_PARTITIONS_BETTER: Final = 3.0
"""The same for partitions, which no other kind looks like."""
_MAX_OBSERVATIONS: Final = 5000
"""Requests that are compared: the last ones."""
_SURPRISE: Final = 0.01
"""Probability of a reply that a limiter excludes, for example because another client sent."""
_WINDOW: Final = 1.0
"""Seconds of the windows that are tried."""
_NOISE_FACTORS: Final = (0.4, 1.0)
"""Errors of the headroom that are tried, relative to that of the arrival times."""
_DELAYS: Final = (0.25, 0.5, 1.0)
_PHASES: Final = 20
"""Starts of a fixed window that are tried."""
_PARTITIONS: Final = (4, 8, 16)
_PARTITION_SPREADS: Final = (1.0, 2.0)
"""How much the tokens of partitions differ, in requests."""
_PARTITIONED_SHARE: Final = 0.9
"""The part of the rate of 8 partitions with a burst of two seconds that is throttled about 3 %."""
_RATES: Final = tuple(1 + percent / 100 for percent in range(-8, 7, 2))
_BURSTS: Final = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
"""Bursts that are tried, in seconds of the rate."""


@dataclass(frozen=True, slots=True)
class LimiterFit:
    """The most likely limiter of one kind."""

    kind: LimiterKind
    log_likelihood: float
    rate: float
    """Requests per second."""
    burst: float | None = None
    """Requests that a bucket, or all partitions, save up."""
    delay: float = 0.0
    """Seconds until a request is counted."""
    partitions: int = 1

    @property
    def spec(self) -> LimiterSpec:
        """The limiter, to describe or to simulate it."""
        return LimiterSpec(self.kind, self.partitions, _WINDOW, self.delay)

    @property
    def evenly_spaced_rate(self) -> float:
        """The rate at which evenly spaced requests are not, or rarely, throttled."""
        match self.kind:
            case LimiterKind.SLIDING_WINDOW | LimiterKind.DELAYED:
                return max(self.rate - 1 / _WINDOW, self.rate / 2)
            case LimiterKind.PARTITIONED:
                return _PARTITIONED_SHARE * self.rate
            case _:
                return self.rate


def fit_limiters(observations: Iterable[Observation], bucket: BucketFit, uncertainty: float) -> list[LimiterFit]:
    """The best fit of each kind, the most likely first. `uncertainty`: of the arrival times, in seconds."""
    events = sorted(observations)[-_MAX_OBSERVATIONS:]
    noises = [factor * (0.3 + bucket.rate * uncertainty) for factor in _NOISE_FACTORS]
    fits = [max(fits, key=lambda fit: fit.log_likelihood) for fits in _fits_by_kind(events, bucket, noises)]
    return sorted(fits, key=lambda fit: fit.log_likelihood, reverse=True)


def likely_fits(fits: Sequence[LimiterFit]) -> Sequence[LimiterFit]:
    """The first of `fits` and those that are not clearly less likely; one if the kind is clear."""
    margin = _PARTITIONS_BETTER if fits and fits[0].kind is LimiterKind.PARTITIONED else _CLEARLY_BETTER
    return [fit for fit in fits if fits[0].log_likelihood - fit.log_likelihood < margin]


def _fits_by_kind(
    events: Sequence[Observation], bucket: BucketFit, noises: Sequence[float]
) -> Iterator[list[LimiterFit]]:
    throttled = [event.throttled for event in events]
    bursts = [max(1.0, seconds * bucket.rate) for seconds in _BURSTS] + ([bucket.burst] if bucket.burst else [])
    rates = [bucket.rate * factor for factor in _RATES]
    yield [
        LimiterFit(
            LimiterKind.TOKEN_BUCKET,
            _log_likelihood([tokens - 1 for tokens in _tokens(events, rate, burst)], throttled, noises),
            rate,
            burst,
        )
        for rate in rates
        for burst in bursts
    ]
    accepted_rate = _accepted_rate(events)
    yield [
        LimiterFit(
            LimiterKind.PARTITIONED,
            _log_likelihood([level / partitions - 1 for level in levels], throttled, _PARTITION_SPREADS),
            rate,
            burst,
            partitions=partitions,
        )
        for rate in (0.9 * accepted_rate, 1.05 * accepted_rate, 1.2 * accepted_rate)
        for burst in bursts
        for levels in (_levels(events, rate, burst),)
        for partitions in _PARTITIONS
    ]
    yield _window_fits(LimiterKind.SLIDING_WINDOW, _sliding_counts(events, 0.0), throttled, noises)
    yield [
        fit
        for delay in _DELAYS
        for fit in _window_fits(LimiterKind.DELAYED, _sliding_counts(events, delay), throttled, noises, delay)
    ]
    yield [
        fit
        for phase in range(_PHASES)
        for fit in _window_fits(
            LimiterKind.FIXED_WINDOW, _fixed_counts(events, phase / _PHASES * _WINDOW), throttled, noises
        )
    ]


def _window_fits(
    kind: LimiterKind, counts: Sequence[int], throttled: Sequence[bool], noises: Sequence[float], delay: float = 0.0
) -> list[LimiterFit]:
    """Fits of the limits near the counts that throttled requests met."""
    met = sorted(count for count, is_throttled in zip(counts, throttled, strict=True) if is_throttled) or [max(counts)]
    limits = {max(1, met[len(met) * part // 4] + difference) for part in range(3) for difference in (-1, 0, 1)}
    return [
        LimiterFit(
            kind,
            _log_likelihood([limit - count - 0.5 for count in counts], throttled, noises),
            limit / _WINDOW,
            delay=delay,
        )
        for limit in limits
    ]


def _log_likelihood(headroom: Sequence[float], throttled: Sequence[bool], noises: Iterable[float]) -> float:
    """Of the replies, if a request is throttled when the headroom, in requests, is below 0; the best of `noises`."""
    return max(
        sum(
            math.log(_probability(room / noise if is_throttled else -room / noise))
            for room, is_throttled in zip(headroom, throttled, strict=True)
        )
        for noise in noises
    )


def _probability(surprise: float) -> float:
    """The probability of a reply, which falls with its distance from the predicted limit."""
    return _SURPRISE + (1 - 2 * _SURPRISE) / (1 + math.exp(max(-50.0, min(50.0, surprise))))


def _tokens(events: Iterable[Observation], rate: float, burst: float) -> Iterator[float]:
    """The tokens that each request meets, given the replies to the earlier ones."""
    tokens, last_at = burst, -math.inf
    for at, throttled in events:
        tokens = min(burst, tokens + (at - last_at) * rate)
        last_at = at
        yield tokens
        tokens = min(tokens, 1.0) if throttled else max(0.0, tokens - 1)


def _levels(events: Iterable[Observation], rate: float, burst: float) -> list[float]:
    """The tokens in all partitions at each request; a throttle says nothing about the others."""
    levels, level, last_at = [], burst, -math.inf
    for at, throttled in events:
        level = min(burst, level + (at - last_at) * rate)
        last_at = at
        levels.append(level)
        level -= not throttled
    return levels


def _sliding_counts(events: Sequence[Observation], delay: float) -> list[int]:
    """The accepted requests in the window that the service knows at each request."""
    accepted = [event.at for event in events if not event.throttled]
    return [
        bisect_right(accepted, min(at - delay, math.nextafter(at, 0))) - bisect_right(accepted, at - delay - _WINDOW)
        for at, _ in events
    ]


def _fixed_counts(events: Sequence[Observation], phase: float) -> list[int]:
    """The accepted requests before each request in its window; windows start `phase` seconds late."""
    counts, number, accepted = [], -math.inf, 0
    for at, throttled in events:
        if (current := math.floor((at - phase) / _WINDOW)) != number:
            number, accepted = current, 0
        counts.append(accepted)
        accepted += not throttled
    return counts


def _accepted_rate(events: Sequence[Observation]) -> float:
    """Requests accepted per second since the first throttle, pauses of more than a second excluded."""
    start = next((number for number, event in enumerate(events) if event.throttled), 0)
    seconds = sum(
        min(0.0 if after.at - before.at > 1 else math.inf, after.at - before.at)
        for before, after in zip(events[start:], events[start + 1 :], strict=False)
    )
    return sum(not event.throttled for event in events[start:]) / max(seconds, 1e-3)
