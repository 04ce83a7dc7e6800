"""Send requests at a given rate and log their outcomes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.errors import AsyncggError, CredentialsError, ServiceError
from asyncgg.formatting import sanitize
from asyncgg.models import ErrorResponse, NoResponse
from asyncgg.tuning.bucket_fit import Observation

_MAX_CONSECUTIVE_FAILURES: Final = 5
"""Consecutive failures that end the measurement."""
_MAX_RETRY_AFTER: Final = 60.0
_STOP_TIMEOUT: Final = 5.0
"""Seconds to wait for requests in flight after `stop`."""


class ProbeOutcome(Enum):
    """How a request ended."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    FAILED = "failed"
    """Any other failure: the request may or may not have taken a token."""


class ProbeRequest(NamedTuple):
    """One request; times are those of the event loop, in seconds."""

    sent_at: float
    answered_at: float
    outcome: ProbeOutcome

    @property
    def arrived_at(self) -> float:
        """Estimated arrival at the service."""
        return (self.sent_at + self.answered_at) / 2


def accepted_latencies(log: Iterable[ProbeRequest]) -> list[float]:
    """Return the latencies of accepted requests in seconds, ascending."""
    return sorted(request.answered_at - request.sent_at for request in log if request.outcome is ProbeOutcome.ACCEPTED)


@dataclass
class ProbeSender:
    """The requests of one measurement; none is sent after the loop time `deadline`.

    `send_at_rate` and `drain` raise `ServiceError` if the service cannot be measured, and
    `CredentialsError` if ListCoreDevices is denied.
    """

    send: Callable[[], Awaitable[object]]
    """Sends a request and returns its reply; `ErrorResponse` and `NoResponse` are failures."""
    deadline: float
    concurrency: int
    log: list[ProbeRequest] = field(default_factory=list)
    throttled: int = 0
    failed: int = 0
    sent: int = 0
    quota_code: str = ""
    retry_after: float = 0.0
    """The longest requested pause, in seconds."""
    stopping: bool = False

    def __post_init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._in_flight: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._consecutive_failures = 0
        self._not_before = self._last_sent_at = -math.inf
        self._error: AsyncggError | None = None

    @property
    def is_finished(self) -> bool:
        """Whether no more requests can be sent."""
        return self.stopping or self._clock() >= self.deadline

    def observations(self) -> list[Observation]:
        """Return the accepted and throttled requests, for `fit_bucket`."""
        return [
            Observation(request.arrived_at, request.outcome is ProbeOutcome.THROTTLED)
            for request in self.log
            if request.outcome is not ProbeOutcome.FAILED
        ]

    def latencies(self) -> list[float]:
        """Return the latencies of accepted requests in seconds, ascending."""
        return accepted_latencies(self.log)

    async def send_at_rate(self, rate: float, seconds: float) -> bool:
        """Send at this rate for `seconds` or until a request is throttled; whether one was.

        Requests in flight continue. The next call keeps the distance to the last request.
        """
        throttled_before, until = self.throttled, min(self._clock() + seconds, self.deadline)
        while not self.stopping and self.throttled == throttled_before:
            send_at = max(self._last_sent_at + 1 / rate, self._not_before)
            if send_at >= until or self._clock() >= until:
                await self._wait_until(until)
                if self._clock() >= until:
                    break
            elif send_at > self._clock():
                await self._wait_until(send_at)
            elif len(self._in_flight) >= self.concurrency:
                await self._wait_until(until)  # a reply ends the wait
            else:
                # Catch up after a late timer, but not after idle time.
                self._last_sent_at = send_at if self._clock() - send_at < 1 / rate else self._clock()
                self._start_request()
        self._raise_error()
        return self.throttled != throttled_before

    async def idle(self, seconds: float) -> None:
        """Send nothing for `seconds`."""
        until = min(self._clock() + seconds, self.deadline)
        while not self.stopping and self._clock() < until:
            await self._wait_until(until)

    async def drain(self) -> None:
        """Wait for all requests in flight and for the end of a requested pause."""
        remaining = max(0.0, self.deadline - self._clock())
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=min(remaining, _STOP_TIMEOUT) if self.stopping else remaining)
        self._raise_error()
        await self.idle(self._not_before - self._clock())

    async def close(self) -> None:
        """Cancel the requests in flight."""
        for task in list(self._in_flight):
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def stop(self) -> None:
        """Send no more requests."""
        self.stopping = True
        self._changed.set()

    async def _wait_until(self, when: float) -> None:
        """Wait until loop time `when` or the next reply."""
        self._changed.clear()
        if (remaining := when - self._clock()) > 0 and not self.stopping:
            timer = asyncio.get_running_loop().call_later(remaining, self._changed.set)
            try:
                await self._changed.wait()
            finally:
                timer.cancel()

    def _start_request(self) -> None:
        self.sent += 1
        task = asyncio.create_task(self._run_request(), name=f"asyncgg-probe-{self.sent}")
        self._in_flight.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), AsyncggError):
            self._error = self._error or error
            self.stopping = True
        self._changed.set()

    async def _run_request(self) -> None:
        sent_at = self._clock()
        reply = await self.send()
        outcome = ProbeOutcome.ACCEPTED
        if isinstance(reply, ErrorResponse | NoResponse):
            throttled = classify(reply, "", ()) is ReplyVerdict.THROTTLED
            outcome = ProbeOutcome.THROTTLED if throttled else ProbeOutcome.FAILED
        self.log.append(ProbeRequest(sent_at, self._clock(), outcome))
        if isinstance(reply, ErrorResponse | NoResponse) and outcome is ProbeOutcome.FAILED:
            self._handle_failure(reply)
            return
        self._consecutive_failures = 0
        if isinstance(reply, ErrorResponse):
            self.throttled += 1
            self.quota_code = self.quota_code or reply.quota_code
            pause = min(reply.retry_after or 0.0, _MAX_RETRY_AFTER)
            self.retry_after = max(self.retry_after, pause)
            self._not_before = max(self._not_before, self._clock() + pause)

    def _handle_failure(self, error: ErrorResponse | NoResponse) -> None:
        self.failed += 1
        if isinstance(error, ErrorResponse) and 400 <= error.status < 500:
            message = sanitize(f"{error.code}: {error.message}")
            if error.status == 403 or "xpired" in error.code or "oken" in error.code:
                raise CredentialsError(
                    f"ListCoreDevices was denied: {message}; grant the permission greengrass:ListCoreDevices"
                )
            raise ServiceError(f"ListCoreDevices was rejected: {message}")
        self._consecutive_failures += 1
        if self._consecutive_failures >= _MAX_CONSECUTIVE_FAILURES:
            reason = error.detail if isinstance(error, NoResponse) else error.code
            raise ServiceError(
                f"cannot measure the quota: {self._consecutive_failures} consecutive requests failed ({reason})"
            )

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
