"""The engine on a loop with early timers and a clock that advances on each read, as uvloop."""

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
"""Seconds by which a timer can be early: uvloop rounds to milliseconds."""
CLOCK_STEP_SECONDS = 0.00013
"""Seconds that pass on each read of the clock."""


class EarlyTimerLoop(VirtualLoop):
    """Virtual time that advances on each read, with early timers."""

    def time(self) -> float:
        """Virtual seconds, a little more on each call."""
        self._now += CLOCK_STEP_SECONDS
        return self._now

    def call_at(  # type: ignore[override]  # typeshed spells the variadic arguments with TypeVarTuple
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in asyncio, but earlier."""
        return super().call_at(when - TIMER_EARLY_SECONDS, callback, *args, context=context)


def test_claim_loop_does_not_miss_a_wave(tmp_path: Path) -> None:
    """A wave that becomes ready between two reads of the clock wakes the claim loop."""

    async def run() -> RunState:
        config = SimulatorConfig(cores=40, things=3, rate=1000.0, burst=1000.0, latency_ms=5.0, fault=("500=30%",))
        return (await EngineHarness(tmp_path / "j", config).start(rate=500.0)).state

    with asyncio.Runner(loop_factory=EarlyTimerLoop) as runner:
        assert runner.run(run()) is RunState.COMPLETE
