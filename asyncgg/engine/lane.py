"""A lane: one quota of an account and Region, with its transport, limiter and credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from asyncgg.classify import ReplyVerdict
from asyncgg.engine.guards import StopReason
from asyncgg.engine.outage import TOLERATED_FAILURES, OutageTracker
from asyncgg.errors import CredentialsError, CredentialsUnreachableError
from asyncgg.events import SendingPaused, Throttled
from asyncgg.models import RunState
from asyncgg.ratelimit import Limiter, RatePolicy
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.base import Refreshable, Transport

_MAX_REFRESHES: Final = 5
"""Refreshes in a row without an accepted request after which the credentials count as lost."""


class Lane(Limiter):
    """Sends requests under one quota. Several lanes can run at the same time."""

    def __init__(
        self,
        transport: Transport,
        policy: RatePolicy,
        *,
        retry: RetryPolicy | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(policy)
        self.transport = transport
        self.may_send = may_send
        """Asked before each request. After the first no, nothing is sent; the owner of the lane must stop the run."""
        self.credential_generation = 0
        """Increases with each refresh of the credentials."""
        self.not_paused = asyncio.Event()
        """Cleared while the consumer of the outcomes cannot keep up."""
        self.not_paused.set()
        self._retry = retry or RetryPolicy()
        self.outage = OutageTracker()
        self._refresh_count = 0
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def status(self) -> str:
        """Why no requests are sent now; empty if they are."""
        if self._refreshing is not None:
            return "refreshing credentials"
        paused_until = self.bucket.statistics().paused_until
        return f"paused for {paused_until - self._clock():.0f} s" if paused_until is not None else ""

    def try_acquire(self) -> bool:
        """Take a token for one request if this needs no waiting."""
        return self._refreshing is None and self.not_paused.is_set() and self.may_send() and self.bucket.try_acquire()

    async def acquire(self) -> None:
        """Take a token for one request; wait for the limiter, for a pause, for new credentials."""
        while self._refreshing is not None or not self.not_paused.is_set():
            await self.not_paused.wait()
            if self._refreshing is not None:
                await asyncio.wait((self._refreshing,))
        await self.bucket.acquire()
        if not self.may_send():
            self.bucket.refund()
            await asyncio.get_running_loop().create_future()  # until the run is stopped

    def handle_reply(
        self, verdict: ReplyVerdict, core: str, started: float, message: str, retry_after: float | None
    ) -> StopReason | None:
        """Adapt rate and pauses to the reply to a request that was sent at `started`.

        Returns a reason to stop, if there is one. Expired credentials are left to `refresh`.
        """
        match verdict:
            case ReplyVerdict.NOT_SENT | ReplyVerdict.LOST | ReplyVerdict.FOREIGN:
                self._record_failure(verdict, core, started, message, retry_after)  # says nothing about the quota
            case ReplyVerdict.TRANSIENT:
                self.on_accepted(started)
                self._record_failure(verdict, core, started, message, retry_after)
            case ReplyVerdict.CREDENTIALS_REJECTED:
                return StopReason(RunState.ABORTED, f"credentials rejected: {message}", is_auth_error=True)
            case ReplyVerdict.CREDENTIALS_EXPIRED:
                pass
            case ReplyVerdict.THROTTLED:
                self.emit(Throttled(core, retry_after))
                self.on_throttled(started, retry_after)
            case _:
                self.outage.record_answer(started)
                if verdict is ReplyVerdict.ACCEPTED:
                    self._refresh_count = 0
                self.on_accepted(started)
        return None

    def _record_failure(
        self, verdict: ReplyVerdict, core: str, started: float, message: str, retry_after: float | None
    ) -> None:
        tolerated = 0 if verdict is ReplyVerdict.NOT_SENT else TOLERATED_FAILURES
        if step := self.outage.record_failure(core, started, self._clock(), tolerated):
            self.pause(message, max(self._retry.delay(step), self._retry.delay(step, retry_after)))

    async def refresh(self, used_generation: int) -> None:
        """Get new credentials, once for all requests that `used_generation` signed.

        Raises:
            CredentialsError: there are no new ones, or several in a row were not accepted either.
        """
        if used_generation != self.credential_generation:
            return
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._renew(), name="asyncgg-refresh")
            self._refreshing.add_done_callback(self._on_refreshed)
        refreshing = self._refreshing
        try:
            await asyncio.wait((refreshing,))
        except asyncio.CancelledError:
            refreshing.cancel()
            raise
        if not refreshing.cancelled():
            refreshing.result()

    def cancel_refresh(self) -> None:
        """End the wait for new credentials: no more requests are sent."""
        if self._refreshing is not None:
            self._refreshing.cancel()

    def _on_refreshed(self, _: object) -> None:
        self._refreshing = None

    async def _renew(self) -> None:
        if not isinstance(self.transport, Refreshable):
            raise CredentialsError("credentials expired and this transport cannot refresh them; resume later")
        reason = "credentials expired"
        failure = CredentialsError(
            f"credentials expired and were not accepted after {_MAX_REFRESHES} refreshes; log in again, then resume"
        )
        while self._refresh_count < _MAX_REFRESHES:
            self._refresh_count += 1
            if self._refresh_count > 1:
                delay = self._retry.delay(self._refresh_count)
                self.emit(SendingPaused(reason, delay))
                await asyncio.sleep(delay)
            try:
                await self.transport.refresh()
            except CredentialsUnreachableError as error:
                reason, failure = str(error), error
            else:
                self.credential_generation += 1
                return
        raise failure
