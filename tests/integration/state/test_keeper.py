"""Tests of `asyncgg.state.keeper` with runs in one event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from asyncgg.models import RunState, Summary
from asyncgg.runs import execute
from asyncgg.settings import build_settings
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.service import Service
from asyncgg.state import StateDocument, StateKeeper, read_state
from tests.integration.state.conftest import CONNECTION
from tests.support.engine import create_journal, manifest_pairs
from tests.support.in_process import InProcessTransport

CONFIG = SimulatorConfig(cores=20, things=30, rate=1000.0, burst=1000.0, latency_ms=5.0)
SETTINGS = build_settings({}, {"rate": 200})


async def run_lane(location: Path) -> Summary:
    """Run a fleet of its own in the state at `location`."""
    service = Service(CONFIG)
    async with StateKeeper(str(location), CONNECTION, lease_seconds=4.0, interval=0.05) as keeper:
        run = keeper.create_run()
        create_journal(run.journal, manifest_pairs(service))
        result, summary = await execute(
            run.journal, SETTINGS, transport=InProcessTransport(service), region="eu-west-1", lease=keeper
        )
        assert result.state is RunState.COMPLETE
        assert not keeper.may_send()
    return summary


async def test_lanes_in_one_loop_have_states_of_their_own(tmp_path: Path) -> None:
    """Several lanes run side by side; each state has its whole run."""
    summaries = await asyncio.gather(*(run_lane(tmp_path / f"lane-{number}") for number in range(3)))
    assert [summary.disassociated for summary in summaries] == [600] * 3
    for number in range(3):
        document, path = await asyncio.to_thread(read, tmp_path / f"lane-{number}")
        assert path.endswith("run.journal")
        assert (document.clean, document.holder) == (True, None)


def read(location: Path) -> tuple[StateDocument, str]:
    """The document of a state and the name of its journal."""
    with read_state(str(location), CONNECTION) as (document, run):
        return document, run.journal.name


async def test_cancelled_run_is_saved_and_its_lease_released(tmp_path: Path) -> None:
    """A lane that is cancelled, as a task of a cluster is, can be continued at once elsewhere."""
    running = asyncio.create_task(run_lane(tmp_path / "lane"))
    await asyncio.sleep(0.5)
    running.cancel()
    await asyncio.wait((running,))
    assert running.cancelled()
    document, _ = await asyncio.to_thread(read, tmp_path / "lane")
    assert document.clean
    assert document.holder is None
