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

from asyncgg.tuning.asking import Answered, Asked, Asking, Heard
from asyncgg.tuning.fit import Fit, fit

__all__ = ["Measured", "Meter", "most_requests", "percentile"]

_FIRST: Final = 2.0
_STEP: Final = 1.25
_STEP_SECONDS: Final = 1.0
"""Of one step, at most: less where the time allowed would not do."""
_RAMP_SHARE: Final = 0.45
"""Of the whole time, at most, until the first throttle."""
_ABOVE: Final = 0.7
"""Requests a second above the rate found: so many throttles a second it costs."""
_DOWN: Final = 0.7
"""Of the pace that was throttled first: how slowly to begin to look for the rate."""
_UP: Final = 0.03
"""By what part the pace is raised when nothing was throttled for a while: once, then twice, three times of it."""
_QUIET_FIRST: Final = 1.0
_QUIET: Final = 3.0
"""That while, in seconds, before the rate is about known and after."""
_LOST: Final = 3
"""Such whiles in a row after which the rate is no longer about known."""
_WINDOW: Final = 9.0
"""Seconds between the throttles that tell the rate, if there is time."""
_FOR_RATE: Final = 15
"""Throttles after which the rate counts as known; the rest is for the burst."""
_MOST: Final = 21
"""Throttles after which no further step is begun."""
_OVERRUN: Final = 4.0
"""Requests that are throttled on top while the first throttle is on its way back: the pace of the last step bounds
them."""
_FILLS: Final = 3
"""Times that the burst is measured, at most."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement found."""

    rate: float | None
    """Requests a second that can be used; None: nothing was throttled, and the highest pace tried is in `reached`."""
    rate_error: float
    """By so much it may be wrong."""
    burst: float | None
    """Requests that can be saved up; None when they were not seen to run out."""
    bursts_seen: int
    reached: float
    """The highest pace of the first step, requests a second."""
    sent: int
    throttled: int
    failed: int
    seconds: float
    quota_code: str
    retry_after: float
    """The longest pause the service asked for: while it lasts a small burst spills over, and the rate looks lower."""
    log: tuple[Asked, ...]
    complete: bool
    """Whether it came to its end; else the time was up, or somebody stopped it."""

    @property
    def at_least(self) -> bool:
        """Whether the rate may well be higher than what was found."""
        spilled = self.retry_after and self.rate and (self.burst or 0.0) < 3 * self.retry_after * self.rate
        return not self.complete or bool(spilled)

    @property
    def latencies(self) -> list[float]:
        """Seconds of each accepted question, ascending."""
        return sorted(one.answered - one.sent for one in self.log if one.what is Answered.ACCEPTED)


def percentile(ascending: list[float], part: float) -> float:
    """The value below which this part (0 to 1) of them lies; NaN of none."""
    return ascending[min(len(ascending) - 1, int(part * len(ascending)))] if ascending else math.nan


def most_requests(up_to: float, seconds: float) -> int:
    """What a measurement can send at most: it steps up, and stays below the ceiling."""
    each, steps = _step_seconds(up_to, seconds), _steps(up_to)
    climbing = sum(_first(up_to) * _STEP**step * each + 1 for step in range(steps))
    return math.ceil(climbing + up_to * (seconds - steps * each)) + 1


class Meter:
    """One measurement, within the running loop. `run` does it; `stop` ends it with what is known."""

    def __init__(
        self, ask: Callable[[], Awaitable[Heard]], *, up_to: float, seconds: float, concurrency: int = 64
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._seconds_allowed = seconds
        self._up_to = up_to
        self._asking = Asking(ask, self._begun + seconds, concurrency)
        self._reached = 0.0
        self.step = "stepping up"
        """What it does now, for a person."""
        self.pace = 0.0

    # --- for whoever watches ---

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._begun

    @property
    def sent(self) -> int:
        """Questions so far."""
        return self._asking.sent

    @property
    def throttled(self) -> int:
        """Of them, throttled."""
        return self._asking.throttled

    def stop(self) -> None:
        """End it now."""
        self._asking.stop()

    # --- the experiment ---

    async def run(self) -> Measured:
        """Measure. Raises what `Asking` raises."""
        complete = False
        try:
            if await self._climb():
                await self._stay()
                complete = await self._empty()
            else:
                complete = not self._asking.over
            await self._asking.settled()
        finally:
            await self._asking.close()
        return self._measured(complete)

    async def _climb(self) -> bool:
        """Step up; whether something was throttled."""
        pace, until = _first(self._up_to), self._begun + _RAMP_SHARE * self._seconds_allowed
        each = _step_seconds(self._up_to, self._seconds_allowed)
        while not self._asking.over:
            self.pace = pace
            self._reached = max(self._reached, pace)
            last = pace >= self._up_to
            if await self._asking.at_pace(pace, max(each, until - self._clock()) if last else each):
                await self._asking.settled()
                return True
            if last:
                return False
            pace = min(self._up_to, pace * _STEP)
        return False

    async def _stay(self) -> None:
        """Keep the bucket empty until the rate is known well enough."""
        self.step = "finding the rate"
        self.pace = self._reached * _DOWN
        pinned: float | None = None  # since when throttles have followed each other at a pace close above the rate
        quiet = 0
        while not self._asking.over and self._asking.throttled < _FOR_RATE:
            if not await self._asking.at_pace(self.pace, _QUIET if pinned else _QUIET_FIRST):
                quiet += 1
                self.pace = min(self._up_to, self.pace + max(_ABOVE, _UP * quiet * self.pace))
                pinned = pinned if quiet < _LOST else None
                continue
            now = self._clock()
            if pinned is None and not quiet:  # far above: what is on its way will be throttled too
                await self._asking.settled()
                found = self._fit()
                self.pace = min(self.pace * _DOWN, found.rate + _ABOVE) if found else self.pace * _DOWN
            elif pinned is None:
                pinned = now
            elif now - pinned >= _WINDOW:
                return
            elif now - pinned >= 1 and (found := self._fit(since=pinned)) is not None:
                self.pace = min(self._up_to, found.rate + _ABOVE)
            quiet = 0

    async def _empty(self) -> bool:
        """Let it fill and empty it; whether that was done."""
        self.step = "finding the burst"
        wait, done = 0.0, False
        for _ in range(_FILLS):
            found = self._fit()
            if found is None or self._asking.over or self._asking.throttled >= _MOST:
                return done
            held = found.burst or found.rate
            wait = max(wait, 1.3 * held / found.rate + 0.5)
            pace = self._pace_to_empty(found.rate)
            left = self._asking.end - self._clock()
            if wait + 1.2 * held / (pace - found.rate) > left or pace <= 1.05 * found.rate:
                return done
            self.pace = 0.0
            await self._asking.settled()
            await self._asking.quiet(wait)
            self.pace, before = pace, len(self._asking.log)
            if not await self._asking.at_pace(pace, left):
                return done
            await self._asking.settled()
            done = True
            fresh = [one for one in self._asking.log[before:] if one.what is Answered.ACCEPTED]
            gone_in = self._clock() - min((one.sent for one in fresh), default=self._clock())
            if len(fresh) - found.rate * gone_in > 0.9 * wait * found.rate:
                wait *= 2  # it may hold more than came in meanwhile
        return done

    def _pace_to_empty(self, rate: float) -> float:
        """Fast, but not so fast that many are under way when the first is throttled."""
        latency = percentile(self._asking.latencies(), 0.5)
        return min(self._up_to, rate + max(0.1 * rate, min(rate, _OVERRUN / max(latency, 0.001))))

    def _fit(self, since: float = -math.inf) -> Fit | None:
        return fit((one for one in self._asking.seen() if one.at >= since), unsure=self._unsure())

    def _unsure(self) -> float:
        """Seconds by which arrivals may be misjudged: a part of what latencies differ by."""
        latencies = self._asking.latencies()
        return (percentile(latencies, 0.9) - percentile(latencies, 0.1)) / 4 if latencies else 0.0

    def _measured(self, complete: bool) -> Measured:
        asking, found = self._asking, self._fit()
        return Measured(
            rate=found.rate if found else None,
            rate_error=found.rate_error if found else 0.0,
            burst=found.burst if found else None,
            bursts_seen=found.bursts if found else 0,
            reached=self._reached,
            sent=asking.sent,
            throttled=asking.throttled,
            failed=asking.failed,
            seconds=self.seconds,
            quota_code=asking.quota_code,
            retry_after=asking.retry_after,
            log=tuple(asking.log),
            complete=complete,
        )


def _first(up_to: float) -> float:
    """The first pace."""
    return min(_FIRST, up_to)


def _steps(up_to: float) -> int:
    """Steps below the ceiling."""
    return math.ceil(math.log(up_to / _first(up_to), _STEP))


def _step_seconds(up_to: float, seconds: float) -> float:
    """So long that all steps and a little of the ceiling fit into their share of the time."""
    return min(_STEP_SECONDS, _RAMP_SHARE * seconds / (_steps(up_to) + 4))
