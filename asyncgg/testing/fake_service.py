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

from asyncgg.models import Accepted, ErrorResponse, Reply
from asyncgg.testing.scenario import Scenario

__all__ = ["FakeService", "ReceivedRequest"]

_ACCEPTED: Final = Accepted()
_TOKEN_TOLERANCE: Final = 1e-9
"""Of a token: sums of floating-point times may lack that much."""


class ReceivedRequest(NamedTuple):
    """One request as the service saw it."""

    at: float
    """Loop time, seconds."""
    core: str
    things: int
    throttled: bool


class FakeService:
    """A transport whose service is played on the running loop's clock; `send` is as of `asyncgg.transport.Transport`.

    Half of a request's latency passes before the service decides on it, half after. The same `seed` gives the same
    latencies and faults, as long as requests arrive in the same order. Time counts from the first request. With
    `keep_log` false `log` stays empty, for long runs.
    """

    def __init__(self, scenario: Scenario | None = None, *, seed: int = 0, record_log: bool = True) -> None:
        self.scenario = scenario = scenario or Scenario()
        self.log: list[ReceivedRequest] = []
        self.sent = self.throttled = self.injected_faults = 0
        """Requests that arrived; of them throttled, and answered with a scripted fault."""
        self.in_flight = self.max_in_flight = 0
        self._record_log = record_log
        self._rng = Random(f"scripted {seed}")
        self._changes = sorted(scenario.changes, key=lambda step: step.at, reverse=True)
        self._quota, self._burst, self._background_rate = scenario.quota, scenario.burst, scenario.background_rate
        self._latency = scenario.latency
        self._tokens = scenario.burst
        self._started_at = self._refilled_at = -math.inf

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Answer one request for `things` of `core`."""
        now = asyncio.get_running_loop().time
        if self._started_at == -math.inf:
            self._started_at = self._refilled_at = now()
        if self._changes:
            self._refill(now())
        half_latency = self._latency.sample(self._rng) / 2
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await asyncio.sleep(half_latency)
            reply = self._decide(core, len(things), now())
            await asyncio.sleep(half_latency)
        finally:
            self.in_flight -= 1
        return reply

    def _decide(self, core: str, things: int, now: float) -> Reply:
        self.sent += 1
        self._refill(now)
        throttled = self._tokens < 1 - _TOKEN_TOLERANCE
        if self._record_log:
            self.log.append(ReceivedRequest(now, core, things, throttled))
        if throttled:
            self.throttled += 1
            return ErrorResponse(429, "ThrottlingException", "Rate exceeded", retry_after=self.scenario.retry_after)
        self._tokens -= 1
        for fault in self.scenario.faults:
            if self.sent in fault.request_numbers or (fault.share and self._rng.random() < fault.share):
                self.injected_faults += 1
                return fault.reply
        return _ACCEPTED

    def _refill(self, now: float) -> None:
        while self._changes and self._started_at + self._changes[-1].at <= now:
            change = self._changes.pop()
            self._add_tokens(max(self._refilled_at, self._started_at + change.at))
            self._quota = self._quota if change.quota is None else change.quota
            self._burst = self._burst if change.burst is None else change.burst
            self._background_rate = self._background_rate if change.background_rate is None else change.background_rate
            self._latency = change.latency or self._latency
            self._tokens = min(self._tokens, self._burst)
        self._add_tokens(now)

    def _add_tokens(self, now: float) -> None:
        refill_rate = max(0.0, self._quota - self._background_rate)
        if math.isinf(refill_rate):
            self._tokens = self._burst
        else:
            self._tokens = min(self._burst, self._tokens + (now - self._refilled_at) * refill_rate)
        self._refilled_at = now
