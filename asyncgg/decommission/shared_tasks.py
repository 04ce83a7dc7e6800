"""Does something once for each key, however many devices wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedTasks(Generic[T]):
    """One task per key. Needs a running loop."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    async def get(self, key: str, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the task of `key`, which the first caller starts; raises what the task raises."""
        if key not in self._tasks:
            task = asyncio.ensure_future(start())
            task.add_done_callback(_retrieve)
            self._tasks[key] = task
        return await asyncio.shield(self._tasks[key])


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark an error as handled: those who waited for it may be cancelled."""
    if not task.cancelled():
        task.exception()
