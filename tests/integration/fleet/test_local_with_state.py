"""Tests of lanes that are kept in a state: who may run them, and what happens when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncgg.engine import StopReason
from asyncgg.errors import StateWriteError
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.campaign_state import CampaignState, read_saved_results, upload_journals
from asyncgg.fleet.local import LocalExecutor
from asyncgg.fleet.results import LaneResult
from asyncgg.manifest import Chunk
from asyncgg.models import RunState
from asyncgg.runs import JournalBuilder, RunMode
from asyncgg.runs.connection import connection_from_settings
from asyncgg.settings import build_settings
from asyncgg.simulator import Simulator
from asyncgg.state import StateKeeper
from asyncgg.transport import resolve_endpoint
from tests.support.command_line import isolated_environment, small_fleet
from tests.support.simulator import fast_config, threaded_simulator

PLAN = small_fleet(20, 1)
RATE = 20.0


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """The service of the lane."""
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)
    with threaded_simulator(fast_config(), PLAN) as running:
        yield running


class LaneScenario:
    """A lane with its journal in a state."""

    def __init__(self, home: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lane = CampaignLane(0, "t1", "", "eu-west-1", home / "t1.journal")
        self.state = CampaignState(
            location=str(home / "share"), id="c1", digest="", request_timeout=1.0, interval=0.2, lease=8.0
        )
        self.keepers: list[StateKeeper] = []
        self.messages: list[str] = []
        values = {
            "endpoint_url": simulator.url,
            "region": "eu-west-1",
            "rate": RATE,
            "burst": 1,
            "request_timeout": 1.0,
        }
        settings = build_settings({}, values)
        builder = JournalBuilder(self.lane.journal, settings, source="fleet.csv")
        builder.add(Chunk(good=list(PLAN.pairs())))
        builder.finish(resolve_endpoint(connection_from_settings(settings)))
        create = CampaignState.keeper

        def keeper(*arguments: Any) -> StateKeeper:
            self.keepers.append(create(*arguments))
            return self.keepers[-1]

        monkeypatch.setattr(CampaignState, "keeper", keeper)

    def executor(self) -> LocalExecutor:
        """An executor of a process."""
        return LocalExecutor(
            RunMode.RESUME, {}, self.state, on_message=lambda name, line: self.messages.append(f"{name}: {line}")
        )

    async def upload(self) -> None:
        """Move the journal to the state."""
        await upload_journals(self.state, {"t1": self.lane.journal})
        assert not self.lane.journal.exists()
        self.keepers.clear()

    async def saved(self) -> LaneResult:
        """The saved result."""
        (result,) = await read_saved_results(self.state, {"t1": self.lane.journal})
        return result


async def wait_for_requests(simulator: Simulator, count: int) -> None:
    """Wait until the service has admitted so many."""
    async with asyncio.timeout(20):
        while simulator.service.counters.admitted < count:  # noqa: ASYNC110 - in the loop of another thread
            await asyncio.sleep(0.02)


@pytest.fixture
def scenario(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> LaneScenario:
    """A lane that is not uploaded yet."""
    return LaneScenario(tmp_path, simulator, monkeypatch)


async def test_lane_that_lost_its_lease_continues_from_what_is_saved(
    scenario: LaneScenario, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the process was stopped for a while: it takes the lease again and sends what is left."""
    await scenario.upload()
    restore = StateKeeper._restore

    async def fail_once(keeper: StateKeeper) -> None:
        monkeypatch.setattr(StateKeeper, "_restore", restore)
        raise StateWriteError("no answer")

    async with scenario.executor() as executor:
        task = asyncio.create_task(executor.run_lane(scenario.lane))
        await wait_for_requests(simulator, 5)
        monkeypatch.setattr(StateKeeper, "_restore", fail_once)  # the store fails, too
        scenario.keepers[0]._lease.lost_reason = "the lease was lost"
        result = await task
    assert (result.state, result.exit) == ("complete", 0)
    assert len(scenario.keepers) == 3
    assert scenario.messages == ["t1: the lease was lost; continuing from what is saved"]
    assert result.things["total"] == result.things["disassociated"] + result.things["already"] == 20
    assert (await scenario.saved()) == result


async def test_second_process_waits_for_the_first_one(scenario: LaneScenario, simulator: Simulator) -> None:
    """Nothing is sent twice, and both have the same result."""
    await scenario.upload()
    async with scenario.executor() as first, scenario.executor() as second:
        running = asyncio.create_task(first.run_lane(scenario.lane))
        await wait_for_requests(simulator, 1)
        waiting = await second.run_lane(scenario.lane)
        result = await running
    assert simulator.service.counters.admitted == 20
    assert waiting.things == result.things
    assert waiting.exit == 0
    assert any("waiting for" in line for line in scenario.messages)


async def test_stop_ends_the_wait_for_a_lease(scenario: LaneScenario, simulator: Simulator) -> None:
    """Ctrl-C does not wait for another process."""
    await scenario.upload()
    async with scenario.executor() as first, scenario.executor() as second:
        running = asyncio.create_task(first.run_lane(scenario.lane))
        await wait_for_requests(simulator, 1)
        waiting = asyncio.create_task(second.run_lane(scenario.lane))
        await asyncio.sleep(0.1)
        second.stop(StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C"))
        result = await waiting
        assert not running.done()
        assert (result.exit, result.reason) == (130, "stopped by Ctrl-C")
        assert (await running).exit == 0
