"""Does the same work in many targets side by side; each target ends alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from asyncgg.cleanup.context import Stoppable
from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError
from asyncgg.fleet.opening import AccountCheck
from asyncgg.fleet.results import BROKEN_CODES
from asyncgg.models import RunState
from asyncgg.report import EXIT_CODES
from asyncgg.sharing import sharing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TargetResult(Generic[T]):
    """How the work in one target ended."""

    name: str
    state: str
    exit: int
    reason: str = ""
    value: T | None = None

    def to_dict(self) -> dict[str, Any]:
        """What every item of `targets` has."""
        return {"name": self.name, "state": self.state, "exit": self.exit, "reason": self.reason}


class TargetGroup(Generic[T]):
    """Runs `work` once in every target; it gets the group and the name of the target.

    `waves`: names of targets by wave; a target that does not end with 0 keeps later waves from
    starting. `abort_targets`: percentage of broken targets at which all others stop. `on_result`
    gets each result. Needs a running loop.
    """

    def __init__(
        self,
        names: Sequence[str],
        work: Callable[[TargetGroup[T], str], Awaitable[TargetResult[T]]],
        *,
        waves: Sequence[Sequence[str]] | None = None,
        abort_targets: float | None = None,
        on_result: Callable[[TargetResult[T]], object] = lambda result: None,
    ) -> None:
        self._names = list(names)
        self._work = work
        self._waves = waves or [self._names]
        self._abort_targets = abort_targets
        self._on_result = on_result
        self._active: dict[str, Stoppable] = {}
        self._results: dict[str, TargetResult[T]] = {}
        self._stop: StopReason | None = None
        self.accounts = AccountCheck()

    def attach(self, name: str, stoppable: Stoppable) -> None:
        """Stop this scan or run with the group; at once if the group was stopped before."""
        self._active[name] = stoppable
        if self._stop is not None:
            stoppable.stop(self._stop)

    def stop(self, reason: StopReason) -> None:
        """Send no more requests in any target, and wait for those in flight."""
        self._stop = self._stop or reason
        for stoppable in self._active.values():
            stoppable.stop(reason)

    def progress(self) -> list[Any]:
        """The progress of the targets at work."""
        return [progress for stoppable in self._active.values() if (progress := stoppable.progress()) is not None]

    async def run(self) -> list[TargetResult[T]]:
        """Work in all targets to their end."""
        with sharing():
            for wave in self._waves:
                names = [name for name in wave if name in self._names]
                async with asyncio.TaskGroup() as tasks:
                    for name in names:
                        tasks.create_task(self._run_target(name), name=f"asyncgg-target-{name}")
                failed = [name for name in names if self._results[name].exit]
                if failed and wave is not self._waves[-1]:
                    self.stop(StopReason(RunState.ABORTED, f"not started: {', '.join(failed)} failed in a wave before"))
        return [self._results[name] for name in self._names]

    async def _run_target(self, name: str) -> None:
        try:
            result = await self._work(self, name) if self._stop is None else stopped_target(name, self._stop)
        except Exception as error:  # noqa: BLE001 - no error of a target may end the others
            result = failed_target(name, error)
        self._active.pop(name, None)
        self._results[name] = result
        self._on_result(result)
        self._check_broken()

    def _check_broken(self) -> None:
        limit = self._abort_targets
        broken = sum(result.exit in BROKEN_CODES for result in self._results.values())
        if limit is not None and broken and self._stop is None and 100 * broken >= limit * len(self._names):
            message = f"{broken} of {len(self._names)} targets are broken, --abort-targets {limit:g} stops all"
            self.stop(StopReason(RunState.ABORTED, message))


class SteppedWork:
    """Work of several scans and runs, stopped by a function, as one that reports the progress of its step."""

    def __init__(self, stop: Callable[[StopReason], object]) -> None:
        self._stop = stop
        self._step: Stoppable | None = None

    def watch(self, step: Stoppable) -> None:
        """Report the progress of this scan or run from now on."""
        self._step = step

    def stop(self, stop: StopReason) -> None:
        """Stop the work."""
        self._stop(stop)

    def progress(self) -> Any:
        """The progress of the step; None before the first one."""
        return None if self._step is None else self._step.progress()


def stopped_target(name: str, reason: StopReason) -> TargetResult[Any]:
    """The result of a target that a stop kept from starting."""
    return TargetResult(name, RunState.PLANNED.value, EXIT_CODES[reason.state], reason.message)


def failed_target(name: str, error: Exception) -> TargetResult[Any]:
    """The result of a target that `error` ended."""
    if isinstance(error, AsyncggError):
        return TargetResult(name, RunState.ABORTED.value, error.exit_code, " ".join(str(error).split()))
    return TargetResult(name, RunState.ABORTED.value, 1, f"{type(error).__name__}: {error}; internal error")
