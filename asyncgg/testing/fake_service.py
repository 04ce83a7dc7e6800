"""A fake service with a quota, latencies and faults, but without a fleet or HTTP, and a fixed rate."""

# It accepts every request that is neither throttled nor faulty. `asyncgg.simulator` has a fleet,
# HTTP and signatures. A request costs two timers, so that an hour takes seconds on a `VirtualLoop`.

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from asyncgg.models import Accepted, ErrorResponse, Reply
from asyncgg.ratelimit import RateStatistics, default_burst
from asyncgg.testing.scenario import Scenario

_ACCEPTED: Final = Accepted()


class ReceivedRequest(NamedTuple):
    """A request in the log of the service."""

    at: float
    """Loop time of arrival, seconds."""
    core: str
    things: int
    throttled: bool


class FakeService:
    """An `asyncgg.transport.Transport` that simulates its service on the running loop.

    The service decides on a request after half of its latency. The same `seed` gives the same
    latencies and faults if requests arrive in the same order. The time of `scenario` starts with
    the first request. Set `record_log` to False for long runs; `log` then stays empty.
    """

    def __init__(self, scenario: Scenario | None = None, *, seed: int = 0, record_log: bool = True) -> None:
        self.scenario = scenario = scenario or Scenario()
        self.log: list[ReceivedRequest] = []
        self.sent = self.throttled = self.injected_faults = 0
        """Numbers of received requests, of throttled ones and of injected faults."""
        self.in_flight = self.max_in_flight = 0
        self._record_log = record_log
        self._rng = Random(f"scripted {seed}")
        self._changes = sorted(scenario.changes, key=lambda change: change.at, reverse=True)
        self._quota, self._burst, self._background_rate = scenario.quota, scenario.burst, scenario.background_rate
        self._latency = scenario.latency
        self._limiter = scenario.limiter.create(self._admitted_rate(), self._burst, Random(f"partitions {seed}"))
        self._started_at = -math.inf

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """See `Transport.send`."""
        now = asyncio.get_running_loop().time
        if self._started_at == -math.inf:
            self._started_at = now()
        self._apply_changes(now())
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
        self._apply_changes(now)
        throttled = not self._limiter.try_acquire(now - self._started_at)
        if self._record_log:
            self.log.append(ReceivedRequest(now, core, things, throttled))
        if throttled:
            self.throttled += 1
            return ErrorResponse(429, "ThrottlingException", "Rate exceeded", retry_after=self.scenario.retry_after)
        for fault in self.scenario.faults:
            if self.sent in fault.request_numbers or (fault.share and self._rng.random() < fault.share):
                self.injected_faults += 1
                return fault.reply
        return _ACCEPTED

    def _apply_changes(self, now: float) -> None:
        while self._changes and self._started_at + self._changes[-1].at <= now:
            change = self._changes.pop()
            self._quota = self._quota if change.quota is None else change.quota
            self._burst = self._burst if change.burst is None else change.burst
            self._background_rate = self._background_rate if change.background_rate is None else change.background_rate
            self._latency = change.latency or self._latency
            self._limiter.set_limits(self._admitted_rate(), self._burst, change.at)

    def _admitted_rate(self) -> float:
        return max(0.0, self._quota - self._background_rate)


class FixedRate:
    """A rate policy that never changes its rate (requests per second; infinity means no limit)."""

    def __init__(self, rate: float, *, burst: float | None = None) -> None:
        self.rate = rate
        self.burst = default_burst(rate) if burst is None else burst

    def on_accepted(self, started: float, now: float, *, limited: bool = True) -> float:
        """Return the constant rate."""
        return self.rate

    def on_throttled(self, started: float, now: float, retry_after: float | None) -> float:
        """Return the constant rate."""
        return self.rate

    def statistics(self) -> RateStatistics:
        """The current state."""
        return RateStatistics(self.rate, self.burst, self.rate, 0)
