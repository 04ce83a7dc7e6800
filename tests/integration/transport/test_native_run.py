"""Tests of whole runs with the native transport."""

from __future__ import annotations

import time
from pathlib import Path

import asyncgg
from asyncgg.models import RunState
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.native import open_native_transport

from .conftest import SECRET_KEY


async def test_run_with_wrong_clock_completes(keys: None, tmp_path: Path) -> None:
    """A clock that is an hour behind costs only the first requests and no attempt of any thing."""
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
        rejected = simulator.service.counters.unsigned
    assert run.summary is not None
    assert run.summary.state is RunState.COMPLETE
    assert {(outcome.ok, outcome.attempts) for outcome in outcomes} == {(True, 1)}
    assert len(outcomes) == len(rows)
    assert run.summary.sent == len(fleet) + rejected
    assert 1 <= rejected <= 30
