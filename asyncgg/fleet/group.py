"""Does the same work in many targets side by side; each target ends alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from asyncgg.cleanup.context import Stoppable
from asyncgg.engine import StopReason
from asyncgg.fleet.opening import AccountCheck
from asyncgg.fleet.results import BROKEN_CODES, describe_error
from asyncgg.models import RunState
from asyncgg.report import EXIT_CODES
from asyncgg.sharing import sharing

T = TypeVar("T")


class EndedTarget(Protocol):
    """How the work in one target ended."""

    @property
    def exit(self) -> int:
        """Its exit code."""


R = TypeVar("R", bound=EndedTarget)


async def run_waves(
    waves: Sequence[Sequence[str]],
    work: Callable[[str], Awaitable[R]],
    stop: Callable[[StopReason], object],
    *,
    abort_targets: float | None = None,
    on_result: Callable[[R], object] = lambda result: None,
) -> dict[str, R]:
    """Do `work`, which raises nothing, for the targets of one wave after the other; the results by name.

    `stop` is called if a target of a wave before the last one does not end with 0, and if `abort_targets` percent of
    all targets are broken; what comes later is still given to `work`. `on_result` gets each result.
    """
    results: dict[str, R] = {}
    total = sum(map(len, waves))
    is_aborted = False

    async def run_target(name: str) -> None:
        nonlocal is_aborted
        results[name] = await work(name)
        on_result(results[name])
        broken = sum(result.exit in BROKEN_CODES for result in results.values())
        if abort_targets is not None and broken and not is_aborted and 100 * broken >= abort_targets * total:
            is_aborted = True
            message = f"{broken} of {total} targets are broken, --abort-targets {abort_targets:g} stops all"
            stop(StopReason(RunState.ABORTED, message))

    for wave in waves:
        async with asyncio.TaskGroup() as tasks:
            for name in wave:
                tasks.create_task(run_target(name), name=f"asyncgg-target-{name}")
        failed = [name for name in wave if results[name].exit]
        if failed and wave is not waves[-1]:
            stop(StopReason(RunState.ABORTED, f"not started: {', '.join(failed)} failed in a wave before"))
    return results


class ActiveTargets:
    """The scans and runs that work side by side. They share one stop, and the check of their accounts.

    Needs a running loop.
    """

    def __init__(self) -> None:
        self._active: dict[str, Stoppable] = {}
        self.stop_reason: StopReason | None = None
        """The first reason to stop."""
        self.accounts = AccountCheck()

    def attach(self, name: str, stoppable: Stoppable) -> None:
        """Stop this scan or run of a target with the others; at once if they were stopped before."""
        self._active[name] = stoppable
        if self.stop_reason is not None:
            stoppable.stop(self.stop_reason)

    def detach(self, name: str) -> None:
        """Forget the scan or run of a target that has ended."""
        self._active.pop(name, None)

    def stop(self, reason: StopReason) -> None:
        """Send no more requests in any target, and wait for those in flight."""
        self.stop_reason = self.stop_reason or reason
        for stoppable in self._active.values():
            stoppable.stop(self.stop_reason)

    def progress(self) -> dict[str, Any]:
        """The progress of the targets at work, by name."""
        found = {name: stoppable.progress() for name, stoppable in self._active.items()}
        return {name: progress for name, progress in found.items() if progress is not None}


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


TargetWork = Callable[[ActiveTargets, str], Awaitable[TargetResult[T]]]
"""What is done in a target; it gets the targets that are active, and the name of its own."""


async def run_targets(
    active: ActiveTargets,
    names: Sequence[str],
    work: TargetWork[T],
    *,
    waves: Sequence[Sequence[str]] | None = None,
    **options: Any,
) -> list[TargetResult[T]]:
    """Do the work in all targets to their end. `options` as `run_waves`; None as `waves`: all start at once."""

    async def run_target(name: str) -> TargetResult[T]:
        if (reason := active.stop_reason) is not None:
            return TargetResult(name, RunState.PLANNED.value, EXIT_CODES[reason.state], reason.message)
        try:
            return await work(active, name)
        except Exception as error:  # noqa: BLE001 - no error of a target may end the others
            return TargetResult(name, RunState.ABORTED.value, *describe_error(error))
        finally:
            active.detach(name)

    with sharing():
        results = await run_waves(waves or [names], run_target, active.stop, **options)
    return [results[name] for name in names]
