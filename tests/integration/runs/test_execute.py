"""Tests of the execution of a journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncgg.models import RunState
from asyncgg.runs import execute
from asyncgg.settings import Settings
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.service import Service
from tests.support.engine import create_journal
from tests.support.in_process import InProcessTransport


@pytest.mark.parametrize("rounds", range(6))
async def test_execute_cancelled_while_opening_releases_the_lock(tmp_path: Path, rounds: int) -> None:
    """After cancellation during the opening, the same program can run the journal at once."""
    service = Service(SimulatorConfig(cores=2, things=10, latency_ms=0.0))
    create_journal(tmp_path / "j", list(service.fleet_spec.pairs()))
    settings, transport = Settings(rate=100.0), InProcessTransport(service)
    first = asyncio.create_task(execute(tmp_path / "j", settings, transport=transport))
    for _ in range(rounds):
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    result, summary = await execute(tmp_path / "j", settings, transport=transport)
    assert result.state is RunState.COMPLETE
    assert summary.disassociated == 20
