"""Rule: the engine on a loop whose timers come a little early and whose clock moves between two looks, as uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Any

from asyncgg.models import RunState
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.testing import VirtualLoop
from tests.support.engine import EngineHarness

TIMER_EARLY_SECONDS = 0.0005
"""Seconds by which a timer may come too early: uvloop rounds to milliseconds."""
CLOCK_STEP_SECONDS = 0.00013
"""Seconds that pass with each look at the clock."""


class EarlyTimerLoop(VirtualLoop):
    """Virtual time that creeps on, and timers that do not wait to the end."""

    def time(self) -> float:
        """Virtual seconds, a little more each time."""
        self._now += CLOCK_STEP_SECONDS
        return self._now

    def call_at(  # type: ignore[override]  # typeshed spells the variadic arguments with TypeVarTuple
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in asyncio, but early."""
        return super().call_at(when - TIMER_EARLY_SECONDS, callback, *args, context=context)


def test_no_wave_is_slept_through(tmp_path: Path) -> None:
    """A core's retry wave that comes due while the feeder looks at the clock wakes it, wherever its look falls."""

    async def run() -> RunState:
        config = SimulatorConfig(cores=40, things=3, rate=1000.0, burst=1000.0, latency_ms=5.0, fault=("500=80",))
        return (await EngineHarness(tmp_path / "j", config).start(rate=500.0)).state

    with asyncio.Runner(loop_factory=EarlyTimerLoop) as runner:
        assert runner.run(run()) is RunState.COMPLETE
