"""Does something for each of many names, a bounded number at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def for_each(
    names: Iterable[str],
    work: Callable[[str], Awaitable[object]],
    at_once: int,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Do `work` for each name in order, `at_once` at the same time; none begins once `is_stopped`.

    Raises the first error of `work`, after the others were cancelled.
    """
    waiting = iter(names)

    async def worker() -> None:
        for name in waiting:
            if is_stopped():
                return
            await work(name)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except BaseExceptionGroup as errors:  # one error for the user, also if several workers met it
        raise errors.exceptions[0] from None
