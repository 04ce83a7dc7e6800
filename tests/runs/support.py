"""Rule: what the tests of this folder share lives here: a simulated service, runs and undos of it in this process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asyncgg.backoff import RetryPolicy
from asyncgg.classify import CodeTable
from asyncgg.engine import Engine, EngineOptions, Lane, RunResult
from asyncgg.journal import JournalWriter, parse_operation
from asyncgg.manifest import Chunk
from asyncgg.manifest.only import Selection
from asyncgg.ratelimit import FixedRate
from asyncgg.runs import JournalBuilder
from asyncgg.runs.evidence import ProvenanceKind, provenance_to_meta
from asyncgg.runs.undoing import PriorState, prepare_undo
from asyncgg.settings import Settings
from asyncgg.simulator import FleetSpec, InProcessTransport, Service, SimulatorConfig

Pair = tuple[str, str]

SETTINGS = Settings(rate=100.0)
LISTED = provenance_to_meta(ProvenanceKind.LISTING, "fleet.db", 1.0)


def a_service(fleet: dict[str, list[str]], *faults: str, **settings: Any) -> Service:
    """A service with this fleet, without latency or quota."""
    config = SimulatorConfig(**{"latency_ms": 0.0, "rate": float("inf"), "fault": faults, **settings})
    return Service(config, fleet_spec=FleetSpec.from_things(fleet))


def associated(service: Service) -> set[Pair]:
    """Who is associated with whom now."""
    return {(core, thing) for core, things in service.fleet.things.items() for thing in things}


def prepared(path: Path, pairs: Iterable[Pair], facts: dict[str, str] | None = None) -> Path:
    """A journal of a disassociation of `pairs`, not begun."""
    preparation = JournalBuilder(path, SETTINGS, source="fleet.csv", extra_meta=facts)
    preparation.add(Chunk(good=list(pairs)))
    preparation.finish(None)
    return path


async def run(
    path: Path, service: Service, *, retry: bool = False, attempts: int = 1_000, gone: str | None = None
) -> RunResult:
    """One start of the journal on virtual time, of whichever operation it is about, to its end; `gone` is a code that
    the user calls so."""
    journal = JournalWriter(path, threaded=False)
    journal._connection.execute("PRAGMA synchronous = OFF")  # no power is lost here, and syncs are most of the time
    try:
        await journal.submit(lambda store: store.begin_retry() if retry else store.begin_resume())
        operation = parse_operation(await journal.submit(lambda store: store.get("operation")), path)
        transport = InProcessTransport(service, operation=operation, timeout=1.0)
        retries = RetryPolicy(attempts, attempts)
        options = EngineOptions(
            retry=retries, codes=CodeTable({gone: "gone"} if gone else {}, operation), stall_timeout=1e9
        )
        return await Engine(journal, Lane(transport, FixedRate(100.0), retry=retries), options).run()
    finally:
        journal.close()


async def removed(path: Path, service: Service, pairs: Iterable[Pair], facts: dict[str, str] | None = LISTED) -> Path:
    """A journal of a disassociation of `pairs` that has been run to its end."""
    await run(prepared(path, pairs, facts), service)
    return path


def undone(
    journal: Path,
    into: Path,
    *,
    only: Selection | None = None,
    known_before: PriorState | None = None,
    assume: bool = False,
    settings: Settings = SETTINGS,
) -> Path:
    """The journal of an undo, not begun."""
    prepare_undo(journal, into, settings, None, only=only, prior_state=known_before, assume_associated=assume)
    return into
