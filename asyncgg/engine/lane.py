"""Rule: one quota and what belongs to it: transport, limiter, rate policy, credentials. Nothing of the things sent.

A lane is (account, Region). It holds nothing global, so that many can run side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from asyncgg.classify import ReplyVerdict
from asyncgg.engine.guards import StopReason
from asyncgg.errors import CredentialsError
from asyncgg.events import Event, RateChanged, SendingPaused, Throttled
from asyncgg.models import RunState
from asyncgg.ratelimit import RatePolicy, TokenBucket
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.base import Refreshable, Transport

__all__ = ["Lane"]

_MAX_REFRESHES: Final = 5
"""Refreshes in a row without an accepted request before the credentials count as lost."""
_RATE_REPORT_THRESHOLD: Final = 0.05
"""Part of the rate by which it must have changed since it was last told."""
_MAX_PAUSE: Final = 300.0
"""Seconds; no single Retry-After pauses the lane for longer."""


class Lane:
    """Sends under one quota."""

    def __init__(self, transport: Transport, policy: RatePolicy, *, retry: RetryPolicy | None = None) -> None:
        self.transport = transport
        self.policy = policy
        self.ceiling = policy.statistics().ceiling
        self.bucket = TokenBucket(policy.rate, policy.burst)
        self._retry = retry or RetryPolicy()
        self._clock = asyncio.get_running_loop().time
        self._reported_rate = policy.rate
        self._unreachable_count = 0
        self._refresh_count = 0
        self._refreshing: asyncio.Future[None] | None = None
        self._credential_generation = 0
        self.not_paused = asyncio.Event()
        """Cleared while whoever takes the outcomes cannot keep up."""
        self.not_paused.set()
        self.emit: Callable[[Event], None] = lambda event: None

    @property
    def credential_generation(self) -> int:
        """Which generation of credentials requests are signed with."""
        return self._credential_generation

    @property
    def status(self) -> str:
        """Why nothing is being sent, if so."""
        if self._refreshing is not None:
            return "refreshing credentials"
        paused_until = self.bucket.statistics().paused_until
        return f"paused for {paused_until - self._clock():.0f} s" if paused_until is not None else ""

    def try_acquire(self) -> bool:
        """Take the right to send one request, if nobody needs to wait for it."""
        return self._refreshing is None and self.not_paused.is_set() and self.bucket.try_acquire()

    async def acquire(self) -> None:
        """Wait until one request may be sent: the limiter, a pause, credentials being refreshed."""
        while self._refreshing is not None or not self.not_paused.is_set():
            await self.not_paused.wait()
            if self._refreshing is not None:
                await asyncio.shield(self._refreshing)
        await self.bucket.acquire()

    def handle_reply(
        self, verdict: ReplyVerdict, core: str, started: float, message: str, retry_after: float | None
    ) -> StopReason | None:
        """What the answer to a request about `core`, begun at `started`, says of quota, way and credentials.

        Returns why to stop, if that is a reason; expired credentials are for `refresh`.
        """
        match verdict:
            case ReplyVerdict.ACCEPTED:
                self.on_accepted(started)
            case ReplyVerdict.THROTTLED:
                self.emit(Throttled(core, retry_after))
                self.on_throttled(started, retry_after)
            case ReplyVerdict.NOT_SENT:
                self.on_unreachable(message)
            case ReplyVerdict.CREDENTIALS_REJECTED:
                return StopReason(RunState.ABORTED, f"the credentials are not accepted: {message}", is_auth_error=True)
            case ReplyVerdict.LOST | ReplyVerdict.CREDENTIALS_EXPIRED:
                pass  # says nothing about the quota
            case _:
                self.on_within_quota(started)
        return None

    def on_accepted(self, started: float) -> None:
        """A request that was begun at `started` was accepted: its credentials are good."""
        self._refresh_count = 0
        self.on_within_quota(started)

    def on_within_quota(self, started: float) -> None:
        """A request that was begun at `started` was answered, and not throttled."""
        self._unreachable_count = 0
        self.policy.on_accepted(started, self._clock())
        self._apply_rate()

    def on_throttled(self, started: float, retry_after: float | None) -> None:
        """A request that was begun at `started` was over the quota."""
        self._unreachable_count = 0
        now = self._clock()
        self.policy.on_throttled(started, now, retry_after)
        self._apply_rate()
        if retry_after:
            self._pause("throttled, the service asked to wait", min(retry_after, _MAX_PAUSE))

    def on_unreachable(self, reason: str) -> None:
        """A request never reached the service: give it time, longer and longer."""
        self._unreachable_count += 1
        self._pause(reason, self._retry.delay(self._unreachable_count))

    async def refresh(self, used_generation: int) -> None:
        """Get new credentials, once for all requests that were signed with generation `used`.

        Raises `CredentialsError` when there are none, or when several in a row were not accepted either.
        """
        if used_generation != self._credential_generation:
            return
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)
            return
        self._refreshing = asyncio.get_running_loop().create_future()
        try:
            await self._renew()
            self._credential_generation += 1
        finally:
            self._refreshing.set_result(None)
            self._refreshing = None

    async def _renew(self) -> None:
        self._refresh_count += 1
        if not isinstance(self.transport, Refreshable):
            raise CredentialsError("the credentials have expired and this transport cannot get new ones; resume later")
        if self._refresh_count > _MAX_REFRESHES:
            raise CredentialsError(
                f"the credentials have expired, and {_MAX_REFRESHES} refreshes brought none that the service accepts;"
                " log in again, then resume"
            )
        if self._refresh_count > 1:
            delay = self._retry.delay(self._refresh_count)
            self.emit(SendingPaused("credentials expired", delay))
            await asyncio.sleep(delay)
        await self.transport.refresh()

    def _pause(self, reason: str, seconds: float) -> None:
        until = self._clock() + seconds
        paused_until = self.bucket.statistics().paused_until
        self.bucket.pause_until(until)
        if paused_until is None:
            self.emit(SendingPaused(reason, seconds))

    def _apply_rate(self) -> None:
        old, new = self.bucket.rate, self.policy.rate
        if new != old or self.policy.burst != self.bucket.burst:
            self.bucket.set_rate(new, self.policy.burst)
        if abs(new - self._reported_rate) >= _RATE_REPORT_THRESHOLD * self._reported_rate:
            self.emit(RateChanged(self._reported_rate, new))
            self._reported_rate = new
