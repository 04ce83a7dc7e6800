"""Rule: what the fast transport's own decisions come to in a whole run is tested here."""

from __future__ import annotations

import time
from pathlib import Path

import asyncgg
from asyncgg.models import RunState
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.native import open_native_transport

from .conftest import SECRET_KEY


async def test_a_run_with_a_wrong_clock(keys: None, tmp_path: Path) -> None:
    """An hour's wrong clock costs a run the first few requests, and no thing an attempt: all of them end done."""
    fleet = {f"core-{number}": ["a", "b"] for number in range(30)}
    config = SimulatorConfig(latency_ms=20, rate=float("inf"), secret_key=SECRET_KEY, max_clock_skew=300)
    rows = [(core, thing) for core, things in fleet.items() for thing in things]
    async with (
        Simulator(config, fleet_spec=FleetSpec.from_things(fleet, now=0.0)) as simulator,
        open_native_transport(
            ConnectionConfig(endpoint_url=simulator.url), clock=lambda: time.time() - 3600
        ) as transport,
    ):
        journal = tmp_path / "run.journal"
        async with asyncgg.Run(rows, transport=transport, journal=journal, rate=500, endpoint_url=simulator.url) as run:
            outcomes = [outcome async for outcome in run.outcomes()]
        refused = simulator.service.counters.unsigned
    assert run.summary is not None
    assert run.summary.state is RunState.COMPLETE
    assert {(outcome.ok, outcome.attempts) for outcome in outcomes} == {(True, 1)}
    assert len(outcomes) == len(rows)
    assert run.summary.sent == len(fleet) + refused
    assert 1 <= refused <= 30
