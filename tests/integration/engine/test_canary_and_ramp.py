"""Rule: runs that begin carefully: a canary of the first things, a ramp of things a minute."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.engine import EngineOptions, RunResult
from asyncgg.errors import UsageError
from asyncgg.models import RunState, ThingState
from asyncgg.ratelimit import Ramp, RampPlan
from asyncgg.simulator.config import SimulatorConfig
from tests.support.engine import EngineHarness

DONE, PENDING = ThingState.DISASSOCIATED, ThingState.PENDING


def make_config(**settings: object) -> SimulatorConfig:
    """A small fleet behind a generous quota."""
    values: dict[str, object] = {"cores": 3, "things": 250, "rate": 1000.0, "burst": 1000.0, "latency_ms": 60.0}
    return SimulatorConfig(**(values | settings))  # type: ignore[arg-type]  # the fields are checked by it


@pytest.mark.virtual
@pytest.mark.parametrize("first", [1, 130, 250, 600])
async def test_a_canary_is_exactly_the_first_things(tmp_path: Path, first: int) -> None:
    """So many go, the first by core and name, no others even when some are sent again; a resume goes on."""
    harness = EngineHarness(tmp_path / "j", make_config(fault=("500=30%", "reset-after=20%")))
    result = await harness.start(options=EngineOptions(limit=first))
    reason = f"limit of {first} things reached; the others are pending"
    assert result == RunResult(RunState.INTERRUPTED, reason, limit_reached=True)
    rows = harness.outcome_rows()
    assert [row.state for row in rows] == [DONE] * first + [PENDING] * (750 - first)
    assert len(harness.associations()) == 750 - first
    harness.check_consistent()
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    harness.check_consistent()


@pytest.mark.virtual
async def test_a_canary_of_more_than_there_is(tmp_path: Path) -> None:
    """Then it is a whole run, and is told as one."""
    harness = EngineHarness(tmp_path / "j", make_config())
    assert (await harness.start(options=EngineOptions(limit=10_000))).state is RunState.COMPLETE


@pytest.mark.virtual
async def test_a_ramp_bounds_the_things_of_every_minute(tmp_path: Path) -> None:
    """At 60 a minute, doubled after every 120 done, up to 240, no batch goes before those ahead of it allow."""
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
async def test_a_ramp_that_waits_can_be_stopped(tmp_path: Path) -> None:
    """The deadline does not wait for the next thing that a slow ramp allows."""
    harness = EngineHarness(tmp_path / "j", make_config())
    started_at = harness.loop.time()
    plan = RampPlan(base_per_minute=0.5, factor=1, increase_after=1)
    result = await harness.start(options=EngineOptions(ramp=plan, deadline=30.0))
    assert result.state is RunState.DEADLINE
    assert harness.loop.time() - started_at < 31
    assert len(harness.associations()) == 749
    harness.check_consistent()


@given(
    st.floats(0.1, 1e6), st.floats(1, 100), st.integers(1, 10**6), st.floats(0.1, 1e9), st.integers(0, 10**9), st.data()
)
def test_a_plan_grows_to_its_maximum_and_never_above(
    base: float, factor: float, after: int, most: float, done: int, data: st.DataObject
) -> None:
    """More things done never lower the rate; it lies between the beginning and the maximum, whatever the figures."""
    plan = RampPlan(base, factor, after, most)
    rate = plan.per_minute(done)
    assert base <= rate <= max(most, base)
    assert plan.per_minute(data.draw(st.integers(0, done))) <= rate
    assert plan.per_minute(0) == base


def test_a_ramp_counts_from_when_it_may_go() -> None:
    """A batch sent late does not let the next one go earlier than its own things allow."""
    ramp = Ramp(RampPlan(60, 2, 10))
    ramp.record_sent(30, 100.0)
    assert ramp.next_send_at() == 130.0
    ramp.record_success(10)
    ramp.record_sent(60, 200.0)
    assert ramp.next_send_at() == 230.0


@pytest.mark.parametrize("figures", [(0, 2, 1), (-1, 2, 1), (float("nan"), 2, 1), (1, 0.5, 1), (1, 2, 0)])
def test_figures_that_mean_nothing(figures: tuple[float, float, int]) -> None:
    """Are refused."""
    with pytest.raises(UsageError):
        RampPlan(*figures)
