"""Rule: one quota and what belongs to it: transport, limiter, rate policy, credentials. Nothing of the things sent.

A lane is (account, Region). It holds nothing global, so that many can run side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from asyncgg.backoff import RetryPolicy
from asyncgg.classify import Verdict
from asyncgg.engine.guards import Stop
from asyncgg.errors import CredentialsError
from asyncgg.events import Event, LanePaused, RateChanged, Throttled
from asyncgg.model import RunState
from asyncgg.ratelimit import RatePolicy, TokenBucket
from asyncgg.transport.base import Refreshable, Transport

__all__ = ["Lane"]

_REFRESHES: Final = 5
"""Refreshes in a row without an accepted request before the credentials count as lost."""
_WORTH_TELLING: Final = 0.05
"""Part of the rate by which it must have changed since it was last told."""
_LONGEST_PAUSE: Final = 300.0
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
        self._told = policy.rate
        self._silences = 0
        self._refreshes = 0
        self._refreshing: asyncio.Future[None] | None = None
        self._credentials = 0
        self.open = asyncio.Event()
        """Cleared while whoever takes the outcomes cannot keep up."""
        self.open.set()
        self.emit: Callable[[Event], None] = lambda event: None

    @property
    def credentials(self) -> int:
        """Which generation of credentials requests are signed with."""
        return self._credentials

    @property
    def note(self) -> str:
        """Why nothing is being sent, if so."""
        if self._refreshing is not None:
            return "refreshing credentials"
        paused = self.bucket.statistics().paused_until
        return f"paused for {paused - self._clock():.0f} s" if paused is not None else ""

    def try_token(self) -> bool:
        """Take the right to send one request, if nobody needs to wait for it."""
        return self._refreshing is None and self.open.is_set() and self.bucket.try_acquire()

    async def token(self) -> None:
        """Wait until one request may be sent: the limiter, a pause, credentials being refreshed."""
        while self._refreshing is not None or not self.open.is_set():
            await self.open.wait()
            if self._refreshing is not None:
                await asyncio.shield(self._refreshing)
        await self.bucket.acquire()

    def heed(self, verdict: Verdict, core: str, started: float, said: str, retry_after: float | None) -> Stop | None:
        """What the answer to a request about `core`, begun at `started`, says of quota, way and credentials.

        Returns why to stop, if that is a reason; expired credentials are for `refresh`.
        """
        match verdict:
            case Verdict.ACCEPTED:
                self.accepted(started)
            case Verdict.THROTTLED:
                self.emit(Throttled(core, retry_after))
                self.throttled(started, retry_after)
            case Verdict.NOT_SENT:
                self.unreachable(said)
            case Verdict.CREDENTIALS_REJECTED:
                return Stop(RunState.ABORTED, f"the credentials are not accepted: {said}", credentials=True)
            case Verdict.LOST | Verdict.CREDENTIALS_EXPIRED:
                pass  # says nothing about the quota
            case _:
                self.within_quota(started)
        return None

    def accepted(self, started: float) -> None:
        """A request that was begun at `started` was accepted: its credentials are good."""
        self._refreshes = 0
        self.within_quota(started)

    def within_quota(self, started: float) -> None:
        """A request that was begun at `started` was answered, and not throttled."""
        self._silences = 0
        self.policy.on_accepted(started, self._clock())
        self._follow()

    def throttled(self, started: float, retry_after: float | None) -> None:
        """A request that was begun at `started` was over the quota."""
        self._silences = 0
        now = self._clock()
        self.policy.on_throttled(started, now, retry_after)
        self._follow()
        if retry_after:
            self._pause("throttled, the service asked to wait", min(retry_after, _LONGEST_PAUSE))

    def unreachable(self, reason: str) -> None:
        """A request never reached the service: give it time, longer and longer."""
        self._silences += 1
        self._pause(reason, self._retry.delay(self._silences))

    async def refresh(self, used: int) -> None:
        """Get new credentials, once for all requests that were signed with generation `used`.

        Raises `CredentialsError` when there are none, or when several in a row were not accepted either.
        """
        if used != self._credentials:
            return
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)
            return
        self._refreshing = asyncio.get_running_loop().create_future()
        try:
            await self._renew()
            self._credentials += 1
        finally:
            self._refreshing.set_result(None)
            self._refreshing = None

    async def _renew(self) -> None:
        self._refreshes += 1
        if not isinstance(self.transport, Refreshable):
            raise CredentialsError("the credentials have expired and this transport cannot get new ones; resume later")
        if self._refreshes > _REFRESHES:
            raise CredentialsError(
                f"the credentials have expired, and {_REFRESHES} refreshes brought none that the service accepts;"
                " log in again, then resume"
            )
        if self._refreshes > 1:
            delay = self._retry.delay(self._refreshes)
            self.emit(LanePaused("credentials expired", delay))
            await asyncio.sleep(delay)
        await self.transport.refresh()

    def _pause(self, reason: str, seconds: float) -> None:
        until = self._clock() + seconds
        paused = self.bucket.statistics().paused_until
        self.bucket.pause_until(until)
        if paused is None:
            self.emit(LanePaused(reason, seconds))

    def _follow(self) -> None:
        old, new = self.bucket.rate, self.policy.rate
        if new != old or self.policy.burst != self.bucket.burst:
            self.bucket.set_rate(new, self.policy.burst)
        if abs(new - self._told) >= _WORTH_TELLING * self._told:
            self.emit(RateChanged(self._told, new))
            self._told = new
