"""Runs with denied cores: a missing permission, or only those cores (virtual time)."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.engine import EngineOptions
from asyncgg.events import CoreSkipped
from asyncgg.models import RunState, ThingState
from asyncgg.simulator.config import SimulatorConfig
from tests.support.engine import EngineHarness

pytestmark = pytest.mark.virtual

DONE, FAILED, PENDING = ThingState.DISASSOCIATED, ThingState.FAILED, ThingState.PENDING


def make_harness(path: Path, *faults: str, cores: int = 60, things: int = 50) -> EngineHarness:
    """A fleet with a high quota."""
    config = SimulatorConfig(cores=cores, things=things, rate=1000.0, burst=1000.0, latency_ms=50.0, fault=faults)
    return EngineHarness(path / "j", config)


@pytest.mark.parametrize(("cores", "things"), [(60, 100), (5, 1200), (1, 6000)])
@pytest.mark.parametrize("first", [1, 11])
async def test_run_denied_everywhere_stops_and_fails_nothing(
    tmp_path: Path, first: int, cores: int, things: int
) -> None:
    """A permission that is missing, or withdrawn after ten batches, leaves the rest pending."""
    harness = make_harness(tmp_path, f"deny#{first}-99999", cores=cores, things=things)
    result = await harness.start(rate=30.0)
    assert (result.state, result.is_auth_error) == (RunState.ABORTED, True)
    assert "grant greengrass:BatchDisassociateClientDeviceFromCoreDevice" in result.reason
    assert len(harness.outcome_rows(DONE)) == 100 * (first - 1)
    assert harness.outcome_rows(FAILED) == []
    assert len(harness.transport.starts) < first + 20
    harness.service.set_faults([])
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_consistent()


async def test_run_denied_cores_at_the_head_do_not_stop(tmp_path: Path) -> None:
    """Thirty denied cores at the head of 120 fail alone, and each is asked once."""
    harness = make_harness(tmp_path, cores=120, things=20)
    denied = sorted({core for core, _ in harness.pairs})[:30]
    harness.service.set_faults([f"deny@{core}" for core in denied])
    result = await harness.start(rate=1000.0, burst=100.0)
    assert result.state is RunState.PARTIAL
    assert {row.core for row in harness.outcome_rows(FAILED)} == set(denied)
    assert len(harness.outcome_rows(DONE)) == 90 * 20
    assert len(harness.transport.starts) == 120
    skipped = [(event.core, event.things) for event in harness.events if isinstance(event, CoreSkipped)]
    assert sorted(skipped) == [(core, 20) for core in denied]
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_run_denied_core_fails_with_its_batches_in_flight(tmp_path: Path) -> None:
    """Several requests of a denied core in flight: its things fail once, and are counted once."""
    harness = make_harness(tmp_path, cores=3, things=1000)
    core = harness.pairs[0][0]
    harness.service.set_faults([f"deny@{core}"])
    assert (await harness.start(rate=1000.0, burst=100.0)).state is RunState.PARTIAL
    assert {row.core for row in harness.outcome_rows(FAILED)} == {core}
    assert len(harness.outcome_rows(FAILED)) == 1000
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_run_continue_when_denied_fails_all(tmp_path: Path) -> None:
    """With the option every core is asked once and fails."""
    harness = make_harness(tmp_path, "deny", things=150)
    result = await harness.start(options=EngineOptions(continue_when_denied=True, per_core=1))
    assert (result.state, result.is_auth_error) == (RunState.PARTIAL, False)
    assert len(harness.transport.starts) == 60
    assert len(harness.outcome_rows(FAILED)) == 9000
