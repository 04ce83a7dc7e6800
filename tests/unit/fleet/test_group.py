"""Tests of the work in many targets side by side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncgg.engine import StopReason
from asyncgg.errors import CredentialsError
from asyncgg.fleet.group import ActiveTargets, TargetResult, run_targets
from asyncgg.models import RunState
from asyncgg.report import EXIT_CODES
from asyncgg.testing import run_virtual

INTERRUPTED = StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C")


class Work:
    """Work of one second that can be stopped."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None

    def stop(self, reason: StopReason) -> None:
        """Keep the reason."""
        self.reason = reason

    def progress(self) -> str:
        """Any object."""
        return "working"


def run(
    names: str, outcomes: dict[str, int | Exception], stop_at: float | None = None, **options: Any
) -> dict[str, int]:
    """Run a group in which each target ends after a second with its outcome, by default 0; the exit codes."""

    async def work(active: ActiveTargets, name: str) -> TargetResult[None]:
        stoppable = Work()
        active.attach(name, stoppable)
        await asyncio.sleep(1)
        outcome = outcomes.get(name, 0)
        if isinstance(outcome, Exception):
            raise outcome
        return TargetResult(name, "", EXIT_CODES[stoppable.reason.state] if stoppable.reason else outcome)

    async def main() -> dict[str, int]:
        active = ActiveTargets()
        if stop_at is not None:
            asyncio.get_running_loop().call_later(stop_at, active.stop, INTERRUPTED)
        results = await run_targets(active, names.split(), work, **options)
        assert active.progress() == {}
        return {result.name: result.exit for result in results}

    return run_virtual(main())


@pytest.mark.parametrize("error", [CredentialsError("expired"), ValueError("bug")])
def test_error_ends_its_own_target(error: Exception) -> None:
    """The others end with 0; a bug counts as internal error."""
    assert run("a b c", {"b": error}) == {"a": 0, "b": getattr(error, "exit_code", 1), "c": 0}


def test_failed_wave_is_the_last_one() -> None:
    """Also one that ends with 3; targets of later waves are not started."""
    waves = [["a"], ["b"], ["c"]]
    assert run("a b c", {}, waves=waves) == {"a": 0, "b": 0, "c": 0}
    assert run("a b c", {"b": 3}, waves=waves) == {"a": 0, "b": 3, "c": 4}


def test_broken_targets_stop_the_others() -> None:
    """From the given percentage on; what failed otherwise is not broken."""
    waves = [["a", "b"], ["c", "d"]]
    assert run("a b c d", {"a": CredentialsError("x"), "b": 0}, abort_targets=25)["c"] == 4
    assert run("a b c d", {"a": 3}, abort_targets=25, waves=waves[::-1])["b"] == 0


def test_stop_reaches_work_that_runs_and_that_comes_later() -> None:
    """What was not started does not start."""
    assert run("a b", {}, stop_at=0.5, waves=[["a"], ["b"]]) == {"a": 130, "b": 130}
    assert run("a b", {}, stop_at=1.5, waves=[["a"], ["b"]]) == {"a": 0, "b": 130}
