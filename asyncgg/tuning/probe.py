"""Rule: the experiment that measures a quota is here: how fast to ask, and for how long. It asks; it never writes.

1. Step up gently until the first throttle, or the ceiling.
2. Stay a hair above the rate found, so that the bucket stays empty: throttles then mark exactly what came in between.
3. Let it fill, then empty it: what it held is the burst.

Each step ends at a throttle and backs off; the whole stays below a fixed number of throttles, since they are taken
from somebody else's patience.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from asyncgg.tuning.bucket_fit import BucketFit, fit_bucket
from asyncgg.tuning.probe_sender import ProbeOutcome, ProbeReply, ProbeRequest, ProbeSender

__all__ = ["ProbeResult", "QuotaProbe", "max_requests", "percentile"]

_INITIAL_RATE: Final = 2.0
_STEP_FACTOR: Final = 1.25
_MAX_STEP_SECONDS: Final = 1.0
"""Of one step, at most: less where the time allowed would not do."""
_RAMP_SHARE: Final = 0.45
"""Of the whole time, at most, until the first throttle."""
_RATE_MARGIN: Final = 0.7
"""Requests a second above the rate found: so many throttles a second it costs."""
_BACKOFF_FACTOR: Final = 0.7
"""Of the pace that was throttled first: how slowly to begin to look for the rate."""
_INCREASE_SHARE: Final = 0.03
"""By what part the pace is raised when nothing was throttled for a while: once, then twice, three times of it."""
_INITIAL_HOLD_SECONDS: Final = 1.0
_HOLD_SECONDS: Final = 3.0
"""That while, in seconds, before the rate is about known and after."""
_MAX_UNTHROTTLED_HOLDS: Final = 3
"""Such whiles in a row after which the rate is no longer about known."""
_RATE_WINDOW: Final = 9.0
"""Seconds between the throttles that tell the rate, if there is time."""
_THROTTLES_FOR_RATE: Final = 15
"""Throttles after which the rate counts as known; the rest is for the burst."""
_MAX_THROTTLES: Final = 21
"""Throttles after which no further step is begun."""
_MAX_OVERSHOOT: Final = 4.0
"""Requests that are throttled on top while the first throttle is on its way back: the pace of the last step bounds
them."""
_MAX_BURST_MEASUREMENTS: Final = 3
"""Times that the burst is measured, at most."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a measurement found."""

    rate: float | None
    """Requests a second that can be used; None: nothing was throttled, and the highest pace tried is in `max_rate_tried`."""
    rate_error: float
    """By so much it may be wrong."""
    burst: float | None
    """Requests that can be saved up; None when they were not seen to run out."""
    burst_samples: int
    max_rate_tried: float
    """The highest pace of the first step, requests a second."""
    sent: int
    throttled: int
    failed: int
    seconds: float
    quota_code: str
    retry_after: float
    """The longest pause the service asked for: while it lasts a small burst spills over, and the rate looks lower."""
    log: tuple[ProbeRequest, ...]
    complete: bool
    """Whether it came to its end; else the time was up, or somebody stopped it."""

    @property
    def is_lower_bound(self) -> bool:
        """Whether the rate may well be higher than what was found."""
        overflowed = self.retry_after and self.rate and (self.burst or 0.0) < 3 * self.retry_after * self.rate
        return not self.complete or bool(overflowed)

    @property
    def latencies(self) -> list[float]:
        """Seconds of each accepted question, ascending."""
        return sorted(
            request.answered_at - request.sent_at for request in self.log if request.outcome is ProbeOutcome.ACCEPTED
        )


def percentile(sorted_values: list[float], fraction: float) -> float:
    """The value below which this part (0 to 1) of them lies; NaN of none."""
    return sorted_values[min(len(sorted_values) - 1, int(fraction * len(sorted_values)))] if sorted_values else math.nan


def max_requests(max_rate: float, seconds: float) -> int:
    """What a measurement can send at most: it steps up, and stays below the ceiling."""
    step_seconds, steps = _step_duration(max_rate, seconds), _step_count(max_rate)
    ramp_requests = sum(_initial_rate(max_rate) * _STEP_FACTOR**step * step_seconds + 1 for step in range(steps))
    return math.ceil(ramp_requests + max_rate * (seconds - steps * step_seconds)) + 1


class QuotaProbe:
    """One measurement, within the running loop. `run` does it; `stop` ends it with what is known."""

    def __init__(
        self, send: Callable[[], Awaitable[ProbeReply]], *, max_rate: float, seconds: float, concurrency: int = 64
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._clock()
        self._max_seconds = seconds
        self._max_rate = max_rate
        self._sender = ProbeSender(send, self._started_at + seconds, concurrency)
        self._max_rate_tried = 0.0
        self.step = "stepping up"
        """What it does now, for a person."""
        self.target_rate = 0.0

    # --- for whoever watches ---

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._started_at

    @property
    def sent(self) -> int:
        """Questions so far."""
        return self._sender.sent

    @property
    def throttled(self) -> int:
        """Of them, throttled."""
        return self._sender.throttled

    def stop(self) -> None:
        """End it now."""
        self._sender.stop()

    # --- the experiment ---

    async def run(self) -> ProbeResult:
        """Measure. Raises what `ProbeSender` raises."""
        complete = False
        try:
            if await self._ramp_up():
                await self._hold()
                complete = await self._drain_bucket()
            else:
                complete = not self._sender.is_finished
            await self._sender.drain()
        finally:
            await self._sender.close()
        return self._result(complete)

    async def _ramp_up(self) -> bool:
        """Step up; whether something was throttled."""
        rate, until = _initial_rate(self._max_rate), self._started_at + _RAMP_SHARE * self._max_seconds
        step_seconds = _step_duration(self._max_rate, self._max_seconds)
        while not self._sender.is_finished:
            self.target_rate = rate
            self._max_rate_tried = max(self._max_rate_tried, rate)
            at_maximum = rate >= self._max_rate
            if await self._sender.send_at_rate(
                rate, max(step_seconds, until - self._clock()) if at_maximum else step_seconds
            ):
                await self._sender.drain()
                return True
            if at_maximum:
                return False
            rate = min(self._max_rate, rate * _STEP_FACTOR)
        return False

    async def _hold(self) -> None:
        """Keep the bucket empty until the rate is known well enough."""
        self.step = "finding the rate"
        self.target_rate = self._max_rate_tried * _BACKOFF_FACTOR
        tracking_since: float | None = (
            None  # since when throttles have followed each other at a pace close above the rate
        )
        unthrottled_holds = 0
        while not self._sender.is_finished and self._sender.throttled < _THROTTLES_FOR_RATE:
            if not await self._sender.send_at_rate(
                self.target_rate, _HOLD_SECONDS if tracking_since else _INITIAL_HOLD_SECONDS
            ):
                unthrottled_holds += 1
                self.target_rate = min(
                    self._max_rate,
                    self.target_rate + max(_RATE_MARGIN, _INCREASE_SHARE * unthrottled_holds * self.target_rate),
                )
                tracking_since = tracking_since if unthrottled_holds < _MAX_UNTHROTTLED_HOLDS else None
                continue
            now = self._clock()
            if tracking_since is None and not unthrottled_holds:  # far above: what is on its way will be throttled too
                await self._sender.drain()
                estimate = self._fit_bucket()
                self.target_rate = (
                    min(self.target_rate * _BACKOFF_FACTOR, estimate.rate + _RATE_MARGIN)
                    if estimate
                    else self.target_rate * _BACKOFF_FACTOR
                )
            elif tracking_since is None:
                tracking_since = now
            elif now - tracking_since >= _RATE_WINDOW:
                return
            elif now - tracking_since >= 1 and (estimate := self._fit_bucket(since=tracking_since)) is not None:
                self.target_rate = min(self._max_rate, estimate.rate + _RATE_MARGIN)
            unthrottled_holds = 0

    async def _drain_bucket(self) -> bool:
        """Let it fill and empty it; whether that was done."""
        self.step = "finding the burst"
        wait, measured = 0.0, False
        for _ in range(_MAX_BURST_MEASUREMENTS):
            estimate = self._fit_bucket()
            if estimate is None or self._sender.is_finished or self._sender.throttled >= _MAX_THROTTLES:
                return measured
            burst = estimate.burst or estimate.rate
            wait = max(wait, 1.3 * burst / estimate.rate + 0.5)
            rate = self._drain_rate(estimate.rate)
            remaining = self._sender.deadline - self._clock()
            if wait + 1.2 * burst / (rate - estimate.rate) > remaining or rate <= 1.05 * estimate.rate:
                return measured
            self.target_rate = 0.0
            await self._sender.drain()
            await self._sender.idle(wait)
            self.target_rate, log_start = rate, len(self._sender.log)
            if not await self._sender.send_at_rate(rate, remaining):
                return measured
            await self._sender.drain()
            measured = True
            accepted = [one for one in self._sender.log[log_start:] if one.outcome is ProbeOutcome.ACCEPTED]
            drain_seconds = self._clock() - min((one.sent_at for one in accepted), default=self._clock())
            if len(accepted) - estimate.rate * drain_seconds > 0.9 * wait * estimate.rate:
                wait *= 2  # it may hold more than came in meanwhile
        return measured

    def _drain_rate(self, rate: float) -> float:
        """Fast, but not so fast that many are under way when the first is throttled."""
        latency = percentile(self._sender.latencies(), 0.5)
        return min(self._max_rate, rate + max(0.1 * rate, min(rate, _MAX_OVERSHOOT / max(latency, 0.001))))

    def _fit_bucket(self, since: float = -math.inf) -> BucketFit | None:
        return fit_bucket(
            (observation for observation in self._sender.observations() if observation.at >= since),
            uncertainty=self._timing_uncertainty(),
        )

    def _timing_uncertainty(self) -> float:
        """Seconds by which arrivals may be misjudged: a part of what latencies differ by."""
        latencies = self._sender.latencies()
        return (percentile(latencies, 0.9) - percentile(latencies, 0.1)) / 4 if latencies else 0.0

    def _result(self, complete: bool) -> ProbeResult:
        sender, estimate = self._sender, self._fit_bucket()
        return ProbeResult(
            rate=estimate.rate if estimate else None,
            rate_error=estimate.rate_error if estimate else 0.0,
            burst=estimate.burst if estimate else None,
            burst_samples=estimate.burst_samples if estimate else 0,
            max_rate_tried=self._max_rate_tried,
            sent=sender.sent,
            throttled=sender.throttled,
            failed=sender.failed,
            seconds=self.seconds,
            quota_code=sender.quota_code,
            retry_after=sender.retry_after,
            log=tuple(sender.log),
            complete=complete,
        )


def _initial_rate(max_rate: float) -> float:
    """The first pace."""
    return min(_INITIAL_RATE, max_rate)


def _step_count(max_rate: float) -> int:
    """Steps below the ceiling."""
    return math.ceil(math.log(max_rate / _initial_rate(max_rate), _STEP_FACTOR))


def _step_duration(max_rate: float, seconds: float) -> float:
    """So long that all steps and a little of the ceiling fit into their share of the time."""
    return min(_MAX_STEP_SECONDS, _RAMP_SHARE * seconds / (_step_count(max_rate) + 4))
