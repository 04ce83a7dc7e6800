"""Rule: how a night is stopped, whatever is going on, and how long it may take, is kept here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from asyncgg.engine import StopReason
from asyncgg.models import RunState
from asyncgg.settings import Settings

__all__ = ["StopController", "Stoppable", "StoppedError"]

T = TypeVar("T")


class Stoppable(Protocol):
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


class StopController:
    """Of one night. `deadline`: seconds from now; None for as long as it takes. `on_work`: told what is going on."""

    def __init__(self, deadline: float | None, on_start: Callable[[Stoppable], None]) -> None:
        self._clock = asyncio.get_running_loop().time
        self._deadline_at = None if deadline is None else self._clock() + deadline
        self._on_start = on_start
        self._stop: StopReason | None = None
        self._active: Stoppable | None = None
        self._task: asyncio.Task[Any] | None = None

    def stop(self, stop: StopReason) -> None:
        """Begin nothing new, let what is in flight end; the first reason counts."""
        self._stop = self._stop or stop
        if self._task is not None:
            self._task.cancel()
        elif self._active is not None:
            self._active.stop(stop)

    def attach(self, stoppable: Stoppable) -> None:
        """A sweep or a run begins."""
        self._active = stoppable
        self._on_start(stoppable)
        if self._stop is not None:
            stoppable.stop(self._stop)

    def with_remaining_deadline(self, settings: Settings) -> Settings:
        """The settings with what is left of the night's time as their deadline."""
        if self._deadline_at is None:
            return settings
        return settings.model_copy(update={"deadline": max(0.001, self._deadline_at - self._clock())})

    async def run_cancellable(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do what has no stop of its own. Raises `StoppedError` when it is cut off, by a stop or at the deadline."""
        task: asyncio.Task[T] = asyncio.create_task(coroutine)
        self._task = task
        if self._stop is not None:
            task.cancel()
        try:
            async with asyncio.timeout_at(self._deadline_at):
                return await task
        except TimeoutError:
            raise StoppedError(StopReason(RunState.DEADLINE, "the deadline came")) from None
        except asyncio.CancelledError:
            if self._stop is None or not task.cancelled():
                raise
            raise StoppedError(self._stop) from None
        finally:
            self._task = None
