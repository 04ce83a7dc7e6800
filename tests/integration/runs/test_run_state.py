"""Tests of runs of the library that are kept in a state."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import asyncgg
from asyncgg.errors import LeaseHeldError, UnfinishedRunError, UsageError
from asyncgg.models import RunState
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.service import Service
from asyncgg.state import read_state
from asyncgg.transport import ConnectionConfig
from tests.support.engine import manifest_pairs
from tests.support.in_process import InProcessTransport

CONFIG = SimulatorConfig(cores=5, things=40, rate=1000.0, burst=1000.0, latency_ms=5.0)
OPTIONS: dict[str, Any] = {"region": "eu-west-1", "rate": 500, "state_interval": 0.1}


def states_of(location: str) -> list[str]:
    """The names of the saved runs."""
    with read_state(location, ConnectionConfig()) as (document, _):
        return document.runs(with_journal=True)


async def test_run_is_kept_in_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes and summary are as without a state; nothing else is left on the disk."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    service, location = Service(CONFIG), str(tmp_path / "share")
    transport = InProcessTransport(service)
    async with asyncgg.Run(manifest_pairs(service), transport=transport, state=location, **OPTIONS) as run:
        outcomes = [outcome async for outcome in run.outcomes()]
    assert run.summary is not None
    assert len(outcomes) == run.summary.disassociated == 200
    (name,) = await asyncio.to_thread(states_of, location)
    assert run.summary.journal == f"{location}: {name}/run.journal"
    assert list((tmp_path / "tmp").iterdir()) == []
    again = await asyncgg.disassociate(manifest_pairs(service), transport=transport, state=location, **OPTIONS)
    assert again.already == 200
    assert len(await asyncio.to_thread(states_of, location)) == 2


async def test_stopped_run_is_resumed_from_the_state(tmp_path: Path) -> None:
    """New rows never replace pending ones; `resume` continues them, with the settings of the run."""
    service, location = Service(CONFIG), str(tmp_path / "share")
    transport = InProcessTransport(service)
    rows = manifest_pairs(service)
    slow = OPTIONS | {"rate": 20, "burst": 1}
    async with asyncgg.Run(rows, transport=transport, state=location, **slow) as run:
        await asyncio.sleep(0.12)
        run.stop()
    assert run.result is not None
    assert run.result.state is RunState.INTERRUPTED
    assert run.summary is not None
    assert run.summary.pending
    with pytest.raises(UnfinishedRunError, match="asyncgg resume --state"):
        await asyncgg.disassociate(rows, transport=transport, state=location, **OPTIONS)
    summary = await asyncgg.resume(state=location, transport=transport, rate=500)
    assert (summary.run, summary.disassociated) == (run.summary.run, 200)


async def test_second_run_of_a_state_raises_while_the_first_is_open(tmp_path: Path) -> None:
    """The lease is held from entering to leaving, and released after an exception in the block."""
    service, location = Service(CONFIG), str(tmp_path / "share")
    transport, rows = InProcessTransport(service), manifest_pairs(service)
    lease = OPTIONS | {"request_timeout": 1, "state_lease": 2.5}

    async def fail() -> None:
        async with asyncgg.Run(rows, transport=transport, state=location, **lease):
            with pytest.raises(LeaseHeldError):
                await asyncgg.disassociate(rows, transport=transport, state=location, **lease)
            raise RuntimeError("of the program")

    with pytest.raises(RuntimeError, match="of the program"):
        await fail()
    summary = await asyncgg.resume(state=location, transport=transport)
    assert summary.pending == 0


async def test_state_that_cannot_be_followed_raises(tmp_path: Path) -> None:
    """A setting without an effect is an error."""
    location = str(tmp_path / "share")
    with pytest.raises(UsageError, match="either state or journal"):
        asyncgg.Run([("core", "thing")], state=location, journal=tmp_path / "run.journal")
    with pytest.raises(UsageError, match="either a journal or state"):
        await asyncgg.resume()
    with pytest.raises(UsageError, match="either a journal or state"):
        await asyncgg.resume(tmp_path / "run.journal", state=location)
    with pytest.raises(UsageError, match="no saved run"):
        await asyncgg.retry(state=location)
    with pytest.raises(UsageError, match="only Run"):
        await asyncgg.disassociate_things(["thing"], inventory=tmp_path / "fleet.db", state=location)
