"""Measure the rate and burst of a quota with read requests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.testing import LimiterKind
from asyncgg.tuning.bucket_fit import BucketFit, fit_bucket, percentile, timing_uncertainty
from asyncgg.tuning.limiter_fit import LimiterFit, fit_limiters, likely_fits
from asyncgg.tuning.probe_sender import ProbeOutcome, ProbeRequest, ProbeSender, accepted_latencies

_INITIAL_RATE: Final = 2.0
_STEP_FACTOR: Final = 1.25
_MAX_STEP_SECONDS: Final = 1.0
"""Duration of a step of the ramp, unless the measurement is too short for all steps."""
_RAMP_SHARE: Final = 0.45
"""Share of the measurement that the ramp may take."""
_RATE_MARGIN: Final = 0.7
"""Requests per second above the estimate, which is also the number of throttles per second."""
_BACKOFF_FACTOR: Final = 0.7
"""Factor of a rate that was throttled too early."""
_INCREASE_SHARE: Final = 0.03
"""Relative increase after a hold without throttles, times the number of such holds in a row."""
_INITIAL_HOLD_SECONDS: Final = 1.0
_HOLD_SECONDS: Final = 3.0
"""Duration of a hold, before and after the rate is roughly known."""
_MAX_UNTHROTTLED_HOLDS: Final = 3
"""Holds in a row without throttles after which the rate counts as unknown."""
_RATE_WINDOW: Final = 9.0
"""Seconds between the throttles that determine the rate, if time permits."""
_THROTTLES_FOR_RATE: Final = 15
"""Throttles after which the rate counts as known; the others are for the burst."""
_MAX_THROTTLES: Final = 21
"""Throttles after which no further step starts."""
_MAX_OVERSHOOT: Final = 4.0
"""Requests in flight at the first throttle of a drain; limits its rate."""
_MAX_BURST_MEASUREMENTS: Final = 3
_OVERLOAD_FACTOR: Final = 2.0
"""Rate of the last step relative to the estimate."""
_OVERLOAD_SECONDS: Final = 2.0
_OVERLOAD_THROTTLES: Final = 8
"""Throttles after which the last step ends."""
_PARTITION_ERROR: Final = 0.2
"""Relative error of the rate of partitions."""
_LONGEST_WINDOW: Final = 2.5
"""Seconds after which a service that counts in windows has forgotten the earlier requests."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a measurement."""

    rate: float | None
    """Available requests per second; None if too few requests were throttled."""
    rate_error: float
    """Error of `rate`."""
    burst: float | None
    """Available burst in requests; None if the bucket was not observed going from full to empty."""
    burst_samples: int
    max_rate_tried: float
    """Highest rate of the ramp, in requests per second."""
    sent: int
    throttled: int
    failed: int
    seconds: float
    quota_code: str
    retry_after: float
    """Longest Retry-After in seconds. If a small bucket overflows, the rate looks lower."""
    log: tuple[ProbeRequest, ...]
    complete: bool
    """Whether all steps were done before the time limit or a stop."""
    limiters: Sequence[LimiterFit] = ()
    """The likely limiters, the most likely first; empty if the last step was not done."""

    @property
    def limiter(self) -> LimiterFit | None:
        """The limiter of the service, if it is clear."""
        return self.limiters[0] if len(self.limiters) == 1 else None

    @property
    def is_lower_bound(self) -> bool:
        """Whether the true rate may be higher than `rate`."""
        overflowed = self.retry_after and self.rate and (self.burst or 0.0) < 3 * self.retry_after * self.rate
        return not self.complete or bool(overflowed)

    @property
    def latencies(self) -> list[float]:
        """Latencies of accepted requests in seconds, ascending."""
        return accepted_latencies(self.log)


def max_requests(max_rate: float, seconds: float) -> int:
    """Return the maximum number of requests of a measurement."""
    step_seconds, steps = _step_duration(max_rate, seconds), _step_count(max_rate)
    ramp_requests = sum(_initial_rate(max_rate) * _STEP_FACTOR**step * step_seconds + 1 for step in range(steps))
    return math.ceil(ramp_requests + max_rate * (seconds - steps * step_seconds)) + 1


class QuotaProbe:
    """One measurement in the running event loop, with few throttles, since others share the quota.

    1. Raise the rate in small steps until the first throttle or the maximum rate.
    2. Hold the rate just above the estimate, so that the bucket stays empty: two throttles then
       bound exactly what flowed in between.
    3. Let the bucket fill up, then empty it: the tokens that it held are the burst.
    4. Let it fill up again and exceed it for a moment: the requests accepted after the first throttle show
       other kinds of limiters.
    """

    def __init__(
        self, send: Callable[[], Awaitable[object]], *, max_rate: float, seconds: float, concurrency: int = 64
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._clock()
        self._max_seconds = seconds
        self._max_rate = max_rate
        self._sender = ProbeSender(send, self._started_at + seconds, concurrency)
        self._max_rate_tried = 0.0
        self._overloaded = False
        self.step = "ramping up"
        """Description of the current step."""
        self.target_rate = 0.0

    # --- progress ---

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started_at

    @property
    def sent(self) -> int:
        """Requests sent."""
        return self._sender.sent

    @property
    def throttled(self) -> int:
        """Requests throttled."""
        return self._sender.throttled

    def progress(self) -> QuotaProbe:
        """The measurement itself, whose attributes are its progress."""
        return self

    def stop(self) -> None:
        """End the measurement with partial results."""
        self._sender.stop()

    # --- measurement ---

    async def run(self) -> ProbeResult:
        """Measure the quota. Raises the errors of `ProbeSender`."""
        complete = False
        try:
            if await self._ramp_up():
                await self._hold()
                complete = await self._drain_bucket()
                await self._overload()
            else:
                complete = not self._sender.is_finished
            await self._sender.drain()
        finally:
            await self._sender.close()
        return self._result(complete)

    async def _ramp_up(self) -> bool:
        """Raise the rate step by step; whether a request was throttled."""
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
        """Keep the bucket empty until the rate is known."""
        self.step = "measuring the rate"
        self.target_rate = self._max_rate_tried * _BACKOFF_FACTOR
        tracking_since: float | None = None  # first throttle at a rate just above the quota
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
            if tracking_since is None and not unthrottled_holds:
                # The rate is far too high: requests in flight are throttled as well.
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
        """Let the bucket fill up and empty it; whether the burst was measured."""
        self.step = "measuring the burst"
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
            accepted = [row for row in self._sender.log[log_start:] if row.outcome is ProbeOutcome.ACCEPTED]
            drain_seconds = self._clock() - min((row.sent_at for row in accepted), default=self._clock())
            if len(accepted) - estimate.rate * drain_seconds > 0.9 * wait * estimate.rate:
                wait *= 2  # the bucket may not have been full
        return measured

    async def _overload(self) -> None:
        """Send at twice the rate from a full bucket on, also after the first throttles."""
        self.step = "exceeding the quota for a moment"
        if (estimate := self._fit_bucket()) is None:
            return
        wait = max(_LONGEST_WINDOW, 1.3 * (estimate.burst or estimate.rate) / estimate.rate + 0.5)
        rate = min(self._max_rate, _OVERLOAD_FACTOR * estimate.rate)
        seconds = _OVERLOAD_SECONDS + (estimate.burst or 0.0) / rate
        if wait + seconds > self._sender.deadline - self._clock():
            return
        self.target_rate = 0.0
        await self._sender.drain()
        await self._sender.idle(wait)
        self.target_rate, until = rate, self._clock() + seconds
        most_throttled = self._sender.throttled + _OVERLOAD_THROTTLES
        self._overloaded = True
        while self._clock() < until and self._sender.throttled < most_throttled and not self._sender.is_finished:
            await self._sender.send_at_rate(rate, until - self._clock())

    def _drain_rate(self, rate: float) -> float:
        """Return a high rate that leaves few requests in flight at the first throttle."""
        latency = percentile(self._sender.latencies(), 0.5)
        return min(self._max_rate, rate + max(0.1 * rate, min(rate, _MAX_OVERSHOOT / max(latency, 0.001))))

    def _fit_bucket(self, since: float = -math.inf) -> BucketFit | None:
        return fit_bucket(
            (observation for observation in self._sender.observations() if observation.at >= since),
            uncertainty=timing_uncertainty(self._sender.latencies()),
        )

    def _result(self, complete: bool) -> ProbeResult:
        sender, estimate = self._sender, self._fit_bucket()
        limiters: Sequence[LimiterFit] = ()
        if estimate and self._overloaded:
            limiters = likely_fits(
                fit_limiters(sender.observations(), estimate, timing_uncertainty(sender.latencies()))
            )
            limiter = limiters[0]
            if len(limiters) == 1 and limiter.kind is not LimiterKind.TOKEN_BUCKET:
                error = _PARTITION_ERROR * limiter.rate if limiter.kind is LimiterKind.PARTITIONED else 1.0
                estimate = BucketFit(limiter.rate, limiter.burst, 1 / error, 1)
        return ProbeResult(
            limiters=limiters,
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
    return min(_INITIAL_RATE, max_rate)


def _step_count(max_rate: float) -> int:
    return math.ceil(math.log(max_rate / _initial_rate(max_rate), _STEP_FACTOR))


def _step_duration(max_rate: float, seconds: float) -> float:
    """Return the seconds of a step, so that all steps fit into their share of the time."""
    return min(_MAX_STEP_SECONDS, _RAMP_SHARE * seconds / (_step_count(max_rate) + 4))
