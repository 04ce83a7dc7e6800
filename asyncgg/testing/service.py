"""Rule: a service played by a script lives here: a quota, latencies and faults, and no idea of a fleet.

It accepts whatever is not throttled or faulty. Whoever needs a fleet, HTTP or signatures takes `asyncgg.simulator`.
Made to be cheap: two timers a request, so that an hour of it passes in seconds on a `VirtualLoop`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from asyncgg.model import Accepted, ErrorResponse, Reply
from asyncgg.testing.script import Script

__all__ = ["Arrival", "ScriptedService"]

_ACCEPTED: Final = Accepted()
_SLACK: Final = 1e-9
"""Of a token: sums of floating-point times may lack that much."""


class Arrival(NamedTuple):
    """One request as the service saw it."""

    at: float
    """Loop time, seconds."""
    core: str
    things: int
    throttled: bool


class ScriptedService:
    """A transport whose service is played on the running loop's clock; `send` is as of `asyncgg.transport.Transport`.

    Half of a request's latency passes before the service decides on it, half after. The same `seed` gives the same
    latencies and faults, as long as requests arrive in the same order. Time counts from the first request. With
    `keep_log` false `log` stays empty, for long runs.
    """

    def __init__(self, script: Script | None = None, *, seed: int = 0, keep_log: bool = True) -> None:
        self.script = script = script or Script()
        self.log: list[Arrival] = []
        self.sent = self.throttled = self.faulty = 0
        """Requests that arrived; of them throttled, and answered with a scripted fault."""
        self.in_flight = self.most_in_flight = 0
        self._keep_log = keep_log
        self._dice = Random(f"scripted {seed}")
        self._steps = sorted(script.steps, key=lambda step: step.at, reverse=True)
        self._quota, self._burst, self._others = script.quota, script.burst, script.others
        self._latency = script.latency
        self._tokens = script.burst
        self._begun = self._refilled = -math.inf

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Answer one request for `things` of `core`."""
        now = asyncio.get_running_loop().time
        if self._begun == -math.inf:
            self._begun = self._refilled = now()
        if self._steps:
            self._refill(now())
        way = self._latency.draw(self._dice) / 2
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(way)
            reply = self._decide(core, len(things), now())
            await asyncio.sleep(way)
        finally:
            self.in_flight -= 1
        return reply

    def _decide(self, core: str, things: int, now: float) -> Reply:
        self.sent += 1
        self._refill(now)
        throttled = self._tokens < 1 - _SLACK
        if self._keep_log:
            self.log.append(Arrival(now, core, things, throttled))
        if throttled:
            self.throttled += 1
            return ErrorResponse(429, "ThrottlingException", "Rate exceeded", retry_after=self.script.retry_after)
        self._tokens -= 1
        for fault in self.script.faults:
            if self.sent in fault.arrivals or (fault.share and self._dice.random() < fault.share):
                self.faulty += 1
                return fault.reply
        return _ACCEPTED

    def _refill(self, now: float) -> None:
        while self._steps and self._begun + self._steps[-1].at <= now:
            step = self._steps.pop()
            self._let_in(max(self._refilled, self._begun + step.at))
            self._quota = self._quota if step.quota is None else step.quota
            self._burst = self._burst if step.burst is None else step.burst
            self._others = self._others if step.others is None else step.others
            self._latency = step.latency or self._latency
            self._tokens = min(self._tokens, self._burst)
        self._let_in(now)

    def _let_in(self, now: float) -> None:
        free = max(0.0, self._quota - self._others)
        if math.isinf(free):
            self._tokens = self._burst
        else:
            self._tokens = min(self._burst, self._tokens + (now - self._refilled) * free)
        self._refilled = now
