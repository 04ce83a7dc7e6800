"""Rule: how a night is stopped, whatever is going on, and how long it may take, is kept here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from asyncgg.engine import StopReason
from asyncgg.model import RunState
from asyncgg.settings import Settings

__all__ = ["Reins", "StoppedError", "Work"]

T = TypeVar("T")


class Work(Protocol):
    """A sweep or a run: it can be stopped, and tells how it stands."""

    def stop(self, stop: StopReason) -> None:
        """Begin nothing new."""
        ...

    def progress(self) -> Any:
        """How it stands."""
        ...


class StoppedError(Exception):
    """What was going on was stopped, or its time was over."""

    def __init__(self, stop: StopReason) -> None:
        super().__init__(stop.message)
        self.stop = stop


class Reins:
    """Of one night. `deadline`: seconds from now; None for as long as it takes. `on_work`: told what is going on."""

    def __init__(self, deadline: float | None, on_work: Callable[[Work], None]) -> None:
        self._clock = asyncio.get_running_loop().time
        self._over_at = None if deadline is None else self._clock() + deadline
        self._on_work = on_work
        self._stop: StopReason | None = None
        self._work: Work | None = None
        self._task: asyncio.Task[Any] | None = None

    def stop(self, stop: StopReason) -> None:
        """Begin nothing new, let what is in flight end; the first reason counts."""
        self._stop = self._stop or stop
        if self._task is not None:
            self._task.cancel()
        elif self._work is not None:
            self._work.stop(stop)

    def begun(self, work: Work) -> None:
        """A sweep or a run begins."""
        self._work = work
        self._on_work(work)
        if self._stop is not None:
            work.stop(self._stop)

    def timed(self, settings: Settings) -> Settings:
        """The settings with what is left of the night's time as their deadline."""
        if self._over_at is None:
            return settings
        return settings.model_copy(update={"deadline": max(0.001, self._over_at - self._clock())})

    async def within(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what has no stop of its own. Raises `StoppedError` when it is cut off, by a stop or at the deadline."""
        task: asyncio.Task[T] = asyncio.create_task(work)
        self._task = task
        if self._stop is not None:
            task.cancel()
        try:
            async with asyncio.timeout_at(self._over_at):
                return await task
        except TimeoutError:
            raise StoppedError(StopReason(RunState.DEADLINE, "the deadline came")) from None
        except asyncio.CancelledError:
            if self._stop is None or not task.cancelled():
                raise
            raise StoppedError(self._stop) from None
        finally:
            self._task = None
