"""Rule: virtual time lives here: an event loop whose clock jumps to the next timer instead of waiting for it.

Nothing here knows what is being tested. What is supported: timers, tasks, locks, queues, and calls handed to
`run_in_executor` (virtual time stands still until they are back). What is not: real sockets, subprocesses and threads
that the loop does not know of; time would jump while their answer is still under way. Use the ordinary loop for these,
or `VirtualLoop.standing_still()` around the wait.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from asyncgg.errors import AsyncggError

__all__ = ["START", "DeadlockError", "VirtualLoop", "run_virtual"]

T = TypeVar("T")

START: Final = 1_000.0
"""What a new loop's clock shows, in seconds; not zero, so that code which takes 0 for "never" is found out."""

_GRACE: Final = 5.0
"""Real seconds that a thread or socket unknown to the loop gets to wake it, before all waiting counts as a deadlock."""

_MAX_TASKS_NAMED: Final = 5
"""Most waiting tasks a deadlock's message names."""


class DeadlockError(AsyncggError):
    """Everything waits and nothing is left that could wake it; the message names the waiting tasks."""


class _JumpingSelector(selectors.DefaultSelector):
    """Asks the system what is ready without waiting; when nothing is, it moves the loop's time instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop._freeze_count:
            return super().select(None)
        if timeout is not None:
            self.loop._now += timeout
            return ready
        # The one file registered by the loop itself is its wake-up pipe.
        if len(self.get_map()) > 1 or threading.active_count() > 1:
            ready = super().select(_GRACE)
        if not ready:
            raise DeadlockError(self.loop._deadlock_message())
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never sleeps: `time()` starts at `START` and moves only when nothing is ready to run.

    Running it raises `DeadlockError` where an ordinary loop would hang for ever.
    """

    def __init__(self) -> None:
        self._now = START
        self._freeze_count = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds; equal to `START` in a new loop."""
        return self._now

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Virtual time stands still within: the loop really waits, for instance for a thread of the test's own."""
        self._freeze_count += 1
        try:
            yield
        finally:
            self._freeze_count -= 1

    def run_in_executor(  # type: ignore[override]  # typeshed spells the variadic arguments with TypeVarTuple
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As in asyncio; virtual time stands still until the call is back or given up."""
        future = super().run_in_executor(executor, func, *args)
        self._freeze_count += 1
        future.add_done_callback(self._resume_clock)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """As in asyncio, which uses a thread of its own for it: virtual time stands still meanwhile."""
        with self.frozen():
            await super().shutdown_default_executor(*args)

    def _resume_clock(self, _: asyncio.Future[Any]) -> None:
        self._freeze_count -= 1

    def _deadlock_message(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        descriptions = [_describe_task(task) for task in tasks[:_MAX_TASKS_NAMED]]
        if len(tasks) > _MAX_TASKS_NAMED:
            descriptions.append(f"and {len(tasks) - _MAX_TASKS_NAMED} more")
        return (
            f"deadlock at virtual time {self._now:g}: nothing is ready, no timer is set, yet these wait: "
            f"{'; '.join(descriptions) or 'a future without a task'}"
        )


def _describe_task(task: asyncio.Task[Any]) -> str:
    """A task's name and the line of its own coroutine at which it waits."""
    stack = task.get_stack(limit=1)
    location = f" at {stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else ""
    return f"{task.get_name()}{location}"


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in a new `VirtualLoop` and return its result: what `asyncio.run` is to real time.

    Made for property-based tests, where every example needs a loop of its own. Raises what `main` raises, and
    `DeadlockError`.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
