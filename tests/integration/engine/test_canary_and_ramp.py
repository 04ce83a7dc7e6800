"""Runs with a limit on their things or a ramp."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from asyncgg.engine import EngineOptions, RunResult
from asyncgg.formatting import format_count
from asyncgg.models import RunState, ThingState
from asyncgg.ratelimit import RampPlan
from asyncgg.simulator.config import SimulatorConfig
from tests.support.engine import EngineHarness

DONE, PENDING = ThingState.DISASSOCIATED, ThingState.PENDING


def make_config(**settings: object) -> SimulatorConfig:
    """A small fleet with a high quota."""
    values: dict[str, object] = {"cores": 3, "things": 250, "rate": 1000.0, "burst": 1000.0, "latency_ms": 60.0}
    return SimulatorConfig(**(values | settings))  # type: ignore[arg-type]  # the fields are checked by it


@pytest.mark.virtual
@pytest.mark.parametrize("first", [1, 130, 250, 600])
async def test_run_with_limit_sends_the_first_things_only(tmp_path: Path, first: int) -> None:
    """Only the first things by core and name are sent, also with retries; a resume sends the
    others."""
    harness = EngineHarness(tmp_path / "j", make_config(fault=("500=30%", "reset-after=20%")))
    result = await harness.start(options=EngineOptions(limit=first))
    reason = f"limit of {format_count(first, 'thing')} reached; the others are pending"
    assert result == RunResult(RunState.INTERRUPTED, reason, limit_reached=True)
    rows = harness.outcome_rows()
    assert [row.state.is_done for row in rows] == [True] * first + [False] * (750 - first)
    assert {row.state for row in rows[first:]} == {PENDING}
    assert len(harness.associations()) == 750 - first
    harness.check_consistent()
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    harness.check_consistent()


@pytest.mark.virtual
async def test_run_with_limit_above_total_completes(tmp_path: Path) -> None:
    """The run is complete."""
    harness = EngineHarness(tmp_path / "j", make_config())
    assert (await harness.start(options=EngineOptions(limit=10_000))).state is RunState.COMPLETE


@pytest.mark.virtual
async def test_run_with_ramp_keeps_things_per_minute(tmp_path: Path) -> None:
    """At 60 a minute, doubled after every 120 done up to 240, no batch is sent too early."""
    harness = EngineHarness(tmp_path / "j", make_config())
    plan = RampPlan(base_per_minute=60, factor=2, increase_after=120, maximum_per_minute=240)
    assert (await harness.start(options=EngineOptions(ramp=plan))).state is RunState.COMPLETE
    starts = [(time, len(things)) for time, _, things in harness.transport.starts]
    assert max(things for _, things in starts) <= 60
    sent = 0
    for (time, things), (later, _) in pairwise(starts):
        assert later - time >= 60 * things / plan.per_minute(sent) - 1e-6
        sent += things
    assert 240 < starts[-1][0] - starts[0][0] < 420  # 2 + 1 minutes for the first 240 things, the rest at 240 a minute
    harness.check_consistent()


@pytest.mark.virtual
async def test_run_waiting_for_ramp_stops_at_deadline(tmp_path: Path) -> None:
    """The deadline does not wait for the next thing of a slow ramp."""
    harness = EngineHarness(tmp_path / "j", make_config())
    started_at = harness.loop.time()
    plan = RampPlan(base_per_minute=0.5, factor=1, increase_after=1)
    result = await harness.start(options=EngineOptions(ramp=plan, deadline=30.0))
    assert result.state is RunState.DEADLINE
    assert harness.loop.time() - started_at < 31
    assert len(harness.associations()) == 749
    harness.check_consistent()
