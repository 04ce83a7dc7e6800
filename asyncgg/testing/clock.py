"""An event loop with virtual time: its clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from asyncgg.errors import AsyncggError

T = TypeVar("T")

START: Final = 1_000.0
"""Initial time of a loop, seconds; not 0, to find code that takes 0 for "never"."""

_GRACE: Final = 5.0
"""Real seconds for unknown threads and sockets to wake the loop before it is a deadlock."""

_MAX_TASKS_NAMED: Final = 5
"""Maximum number of waiting tasks in the message of a deadlock."""


class DeadlockError(AsyncggError):
    """All tasks wait, and nothing can wake them; the message names them."""


class _JumpingSelector(selectors.DefaultSelector):
    """Polls without waiting and advances the time of the loop if nothing is ready."""

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
        # The loop itself registers one file, its wake-up pipe.
        if len(self.get_map()) > 1 or threading.active_count() > 1:
            ready = super().select(_GRACE)
        if not ready:
            raise DeadlockError(self.loop._deadlock_message())
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never sleeps: `time()` advances only if nothing is ready.

    It raises `DeadlockError` where an ordinary loop would wait forever. Timers, tasks, locks,
    queues and `run_in_executor` are supported. Real sockets, subprocesses and other threads are
    not, because the time advances while the loop waits for them: use an ordinary loop, or wait
    inside `frozen`.
    """

    def __init__(self) -> None:
        self._now = START
        self._freeze_count = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Get the virtual time in seconds."""
        return self._now

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop virtual time in the block: the loop really waits, for example for a thread."""
        self._freeze_count += 1
        try:
            yield
        finally:
            self._freeze_count -= 1

    def run_in_executor(  # type: ignore[override]  # typeshed spells the variadic arguments with TypeVarTuple
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As in asyncio; virtual time stops until the call returns or is cancelled."""
        future = super().run_in_executor(executor, func, *args)
        self._freeze_count += 1
        future.add_done_callback(self._resume_clock)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """As in asyncio; virtual time stops meanwhile, because asyncio uses a thread."""
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
            f"deadlock at virtual time {self._now:g}: nothing is ready, no timer is set, waiting tasks: "
            f"{'; '.join(descriptions) or 'a future without a task'}"
        )


def _describe_task(task: asyncio.Task[Any]) -> str:
    """Get the name of a task and the line of its coroutine at which it waits."""
    stack = task.get_stack(limit=1)
    location = f" at {stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else ""
    return f"{task.get_name()}{location}"


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in a new `VirtualLoop` and return its result, like `asyncio.run` in real time.

    Each example of a property-based test needs its own loop.

    Raises:
        DeadlockError: all tasks wait, and nothing can wake them.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
