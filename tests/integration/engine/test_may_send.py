"""Runs that lose the right to send."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncgg.engine import StopReason
from asyncgg.models import RunState, ThingState
from asyncgg.simulator.config import SimulatorConfig
from tests.support.engine import EngineHarness

LOST = StopReason(RunState.ABORTED, "the lease is lost")


@pytest.mark.virtual
@pytest.mark.parametrize("asked", [0, 1, 2, 7, 31, 32])
@pytest.mark.parametrize("rate", [20.0, 1000.0])
async def test_run_sends_nothing_after_the_first_no(tmp_path: Path, asked: int, rate: float) -> None:
    """Whenever the answer changes, no request starts afterwards, and the rest stays pending and unsent."""
    config = SimulatorConfig(cores=40, things=20, rate=1000.0, burst=1000.0, latency_ms=60.0)
    harness = EngineHarness(tmp_path / "j", config)
    questions, refused_at = 0, None

    def may_send() -> bool:
        nonlocal questions, refused_at
        questions += 1
        if questions > asked and refused_at is None:
            refused_at = harness.loop.time()
        return refused_at is None

    running = asyncio.create_task(harness.start(rate=rate, adaptive=False, may_send=may_send))
    await asyncio.sleep(30.0)
    assert refused_at is not None
    assert all(at <= refused_at for at, _, _ in harness.transport.starts)
    sent = len(harness.transport.starts)
    assert sent <= asked
    assert harness.engine is not None
    harness.engine.stop(LOST)
    assert (await running).state is RunState.ABORTED
    assert len(harness.transport.starts) == sent
    harness.check_consistent()
    assert len(harness.outcome_rows(ThingState.PENDING)) == 40 * 20 - len(
        harness.outcome_rows(ThingState.DISASSOCIATED)
    )
    assert (await harness.start()).state is RunState.COMPLETE
    assert harness.service.counters.summary()["things"]["carried_more_than_once"] == 0
