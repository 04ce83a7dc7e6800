"""Rule: questions go out at a given pace here, and what they met is noted; which pace is right is decided elsewhere.

`ask` is the only thing that is ever called: whoever makes it decides what is sent.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from asyncgg.errors import AsyncggError, CredentialsError, ServiceError
from asyncgg.model import ErrorResponse, NoResponse
from asyncgg.tuning.fit import Seen

__all__ = ["Answered", "Asked", "Asking", "Heard"]

_SILENT: Final = 5
"""Questions without any answer, one after the other, at which it is given up."""
_LONGEST_PAUSE: Final = 60.0
_LAST_WORDS: Final = 5.0
"""Seconds that what is under way gets once somebody wants to stop."""


class Answered(Enum):
    """What a question met."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    FAILED = "failed"
    """Something else went wrong: it may have taken its token or not."""


class Asked(NamedTuple):
    """One question; times are the loop's, in seconds."""

    sent: float
    answered: float
    what: Answered

    @property
    def arrived(self) -> float:
        """When the service saw it, as well as one can know."""
        return (self.sent + self.answered) / 2


@dataclass(frozen=True, slots=True)
class Heard:
    """What one question came to."""

    what: Answered
    reply: ErrorResponse | NoResponse | None = None
    """What it was refused with."""


@dataclass
class Asking:
    """The questions of one measurement: at most `concurrency` under way, none after the loop's time `end`.

    Raises, from `at_pace`, `ServiceError` when nobody answers, `CredentialsError` when reading is not allowed.
    """

    ask: Callable[[], Awaitable[Heard]]
    end: float
    concurrency: int
    log: list[Asked] = field(default_factory=list)
    throttled: int = 0
    failed: int = 0
    sent: int = 0
    quota_code: str = ""
    retry_after: float = 0.0
    """The longest pause that was asked for, seconds."""
    stopping: bool = False

    def __post_init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._under_way: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._silent = 0
        self._not_before = self._last = -math.inf
        self._error: AsyncggError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more may be sent."""
        return self.stopping or self._clock() >= self.end

    def seen(self) -> list[Seen]:
        """What was accepted or throttled, for `fit`."""
        return [
            Seen(one.arrived, one.what is Answered.THROTTLED) for one in self.log if one.what is not Answered.FAILED
        ]

    def latencies(self) -> list[float]:
        """Seconds of each accepted question, ascending."""
        return sorted(one.answered - one.sent for one in self.log if one.what is Answered.ACCEPTED)

    async def at_pace(self, rate: float, seconds: float) -> bool:
        """Ask `rate` times a second for so long, or until one is throttled: whether one was.

        What is under way then goes on: the next call keeps the distance to the last question of this one.
        """
        before, until = self.throttled, min(self._clock() + seconds, self.end)
        while not self.stopping and self.throttled == before:
            due = max(self._last + 1 / rate, self._not_before)
            if due >= until or self._clock() >= until:
                await self._until(until)
                if self._clock() >= until:
                    break
            elif due > self._clock():
                await self._until(due)
            elif len(self._under_way) >= self.concurrency:
                await self._until(until)  # an answer wakes us
            else:
                # A late timer is made up for, an idle time is not.
                self._last = due if self._clock() - due < 1 / rate else self._clock()
                self._send()
        self._raise()
        return self.throttled != before

    async def quiet(self, seconds: float) -> None:
        """Ask nothing for so long."""
        until = min(self._clock() + seconds, self.end)
        while not self.stopping and self._clock() < until:
            await self._until(until)

    async def settled(self) -> None:
        """Wait until everything is back, and the pause that was asked for is over."""
        left = max(0.0, self.end - self._clock())
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=min(left, _LAST_WORDS) if self.stopping else left)
        self._raise()
        await self.quiet(self._not_before - self._clock())

    async def close(self) -> None:
        """Give up what is still under way."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def stop(self) -> None:
        """Ask nothing more."""
        self.stopping = True
        self._changed.set()

    async def _until(self, when: float) -> None:
        """Wait until then, or until something came back."""
        self._changed.clear()
        if (left := when - self._clock()) > 0 and not self.stopping:
            timer = asyncio.get_running_loop().call_later(left, self._changed.set)
            try:
                await self._changed.wait()
            finally:
                timer.cancel()

    def _send(self) -> None:
        self.sent += 1
        task = asyncio.create_task(self._one(), name=f"asyncgg-ask-{self.sent}")
        self._under_way.add(task)
        task.add_done_callback(self._back)

    def _back(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), AsyncggError):
            self._error = self._error or error
            self.stopping = True
        self._changed.set()

    async def _one(self) -> None:
        sent = self._clock()
        heard = await self.ask()
        self.log.append(Asked(sent, self._clock(), heard.what))
        if heard.what is Answered.THROTTLED:
            self.throttled += 1
            if isinstance(heard.reply, ErrorResponse):
                self.quota_code = self.quota_code or heard.reply.quota_code
                pause = min(heard.reply.retry_after or 0.0, _LONGEST_PAUSE)
                self.retry_after = max(self.retry_after, pause)
                self._not_before = max(self._not_before, self._clock() + pause)
        elif heard.what is Answered.FAILED:
            self._failed(heard.reply)
        if heard.what is not Answered.FAILED:
            self._silent = 0

    def _failed(self, reply: ErrorResponse | NoResponse | None) -> None:
        self.failed += 1
        if isinstance(reply, ErrorResponse) and 400 <= reply.status < 500:
            said = f"{reply.code}: {reply.message}"
            if reply.status == 403 or "xpired" in reply.code or "oken" in reply.code:
                raise CredentialsError(
                    f"the service refuses ListCoreDevices, so nothing can be measured: {said};"
                    " it needs the permission greengrass:ListCoreDevices"
                )
            raise ServiceError(f"the service does not accept ListCoreDevices: {said}")
        self._silent += 1
        if self._silent >= _SILENT:
            why = reply.detail if isinstance(reply, NoResponse) else reply.code if reply else ""
            raise ServiceError(f"{self._silent} questions in a row failed ({why}); nothing can be measured")

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
