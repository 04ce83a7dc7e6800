"""A simulated service, runs and undos in this process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asyncgg.classify import CodeTable
from asyncgg.engine import Engine, EngineOptions, Lane, RunResult
from asyncgg.journal import JournalWriter, parse_operation
from asyncgg.manifest import Chunk
from asyncgg.manifest.name_lists import Selection
from asyncgg.retry_policy import RetryPolicy
from asyncgg.runs import JournalBuilder
from asyncgg.runs.provenance import ProvenanceKind, provenance_to_meta
from asyncgg.runs.undo_plan import PriorState, prepare_undo
from asyncgg.settings import Settings
from asyncgg.simulator import FleetSpec, Service, SimulatorConfig
from asyncgg.testing import FixedRate
from tests.support.in_process import InProcessTransport

Pair = tuple[str, str]

SETTINGS = Settings(rate=100.0)
LISTING_PROVENANCE = provenance_to_meta(ProvenanceKind.LISTING, "fleet.db", 1.0)


def make_service(fleet: dict[str, list[str]], *faults: str, **settings: Any) -> Service:
    """A service with this fleet, without latency or quota."""
    config = SimulatorConfig(**{"latency_ms": 0.0, "rate": float("inf"), "fault": faults, **settings})
    return Service(config, fleet_spec=FleetSpec.from_things(fleet))


def associations(service: Service) -> set[Pair]:
    """The present associations."""
    return {(core, thing) for core, things in service.fleet.things.items() for thing in things}


def create_journal(path: Path, pairs: Iterable[Pair], metadata: dict[str, str] | None = None) -> Path:
    """A journal of a disassociation of `pairs`, not started."""
    builder = JournalBuilder(path, SETTINGS, source="fleet.csv", extra_meta=metadata)
    builder.add(Chunk(good=list(pairs)))
    builder.finish(None)
    return path


async def run_journal(
    path: Path, service: Service, *, retry: bool = False, attempts: int = 1_000, missing_code: str | None = None
) -> RunResult:
    """Run the journal to completion. `missing_code`: a code that the user maps to "gone"."""
    journal = JournalWriter(path, threaded=False)
    journal._connection.execute("PRAGMA synchronous = OFF")  # syncs take most of the time
    try:
        await journal.submit(lambda store: store.begin_retry() if retry else store.begin_resume())
        operation = parse_operation(await journal.submit(lambda store: store.get("operation")), path)
        transport = InProcessTransport(service, operation=operation, timeout=1.0)
        retries = RetryPolicy(attempts, attempts)
        options = EngineOptions(
            retry=retries, codes=CodeTable({missing_code: "gone"} if missing_code else {}, operation), stall_timeout=1e9
        )
        return await Engine(journal, Lane(transport, FixedRate(100.0), retry=retries), options).run()
    finally:
        journal.close()


async def create_completed_journal(
    path: Path, service: Service, pairs: Iterable[Pair], metadata: dict[str, str] | None = LISTING_PROVENANCE
) -> Path:
    """A journal of a completed disassociation of `pairs`."""
    await run_journal(create_journal(path, pairs, metadata), service)
    return path


def create_undo_journal(
    journal: Path,
    into: Path,
    *,
    only: Selection | None = None,
    prior_state: PriorState | None = None,
    assume_associated: bool = False,
    settings: Settings = SETTINGS,
) -> Path:
    """The journal of an undo, not started."""
    prepare_undo(journal, into, settings, None, only=only, prior_state=prior_state, assume_associated=assume_associated)
    return into
