"""Does something once for each key, however many devices wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedTasks(Generic[T]):
    """One task per key. Needs a running loop."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    async def get(self, key: str, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the task of `key`, which the first caller starts; raises what the task raises.

        All who wait get its error; a later caller starts it again.
        """
        if key not in self._tasks:
            task = asyncio.ensure_future(start())
            task.add_done_callback(partial(self._forget_failure, key))
            self._tasks[key] = task
        return await asyncio.shield(self._tasks[key])

    def _forget_failure(self, key: str, task: asyncio.Task[T]) -> None:
        # To ask for the exception marks it as handled: those who waited for it may be cancelled.
        if task.cancelled() or task.exception() is not None:
            del self._tasks[key]
