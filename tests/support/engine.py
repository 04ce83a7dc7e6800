"""A complete run on virtual time, with fleet, journal, lane and engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from asyncgg.engine import Engine, EngineOptions, Lane, RunResult
from asyncgg.events import Event, ThingsFinished
from asyncgg.journal import Importer, JournalReader, JournalWriter, OutcomeRow
from asyncgg.models import Outcome, Reply, ThingState
from asyncgg.ratelimit import AdaptiveRate
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.service import Service
from asyncgg.testing import FixedRate
from tests.support.in_process import InProcessTransport

__all__ = ["EngineHarness", "TransportSpy", "create_journal"]

Pairs = Sequence[tuple[str, str]]


def create_journal(path: Path, pairs: Pairs) -> Path:
    """A journal of these associations at `path`."""
    importer = Importer(path)
    importer.add(list(pairs))
    importer.finish({"run": "test", "state": "planned"})
    return path


@dataclass
class TransportSpy:
    """A transport that records requests and passes them to another one."""

    inner: InProcessTransport
    starts: list[tuple[float, str, tuple[str, ...]]] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0
    on_refresh: Callable[[], Awaitable[None]] = field(default=partial(asyncio.sleep, 0.01))

    async def refresh(self) -> None:
        """Call `on_refresh`."""
        await self.on_refresh()

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Record the request and pass it on."""
        self.starts.append((asyncio.get_running_loop().time(), core, tuple(things)))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self.inner.send(core, things)
        finally:
            self.in_flight -= 1


class EngineHarness:
    """A simulated service and a journal of its manifest; each `start` is one start of the run.

    Must be created in the virtual loop. `extra_pairs` are added to those of the fleet.
    """

    def __init__(
        self,
        path: Path,
        config: SimulatorConfig,
        *,
        extra_pairs: Pairs = (),
        only_pairs: Pairs | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.path = path
        self.loop = asyncio.get_running_loop()
        self.service = Service(config, now=self.loop.time())
        self.transport = TransportSpy(InProcessTransport(self.service, timeout=timeout))
        self.pairs = [*(only_pairs if only_pairs is not None else manifest_pairs(self.service)), *extra_pairs]
        self.events: list[Event] = []
        self.engine: Engine | None = None
        create_journal(path, self.pairs)

    async def start(
        self,
        *,
        rate: float = 100.0,
        burst: float = 5.0,
        adaptive: bool = True,
        retry: bool = False,
        options: EngineOptions | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> RunResult:
        """One start: open the journal, run the engine, close."""
        journal = JournalWriter(self.path, threaded=False)
        journal._connection.execute("PRAGMA synchronous = OFF")  # faster; power is not lost in tests
        try:
            await journal.submit(lambda store: store.begin_retry() if retry else store.begin_resume())
            policy_class = AdaptiveRate if adaptive else FixedRate
            lane = Lane(self.transport, policy_class(rate, burst=burst), may_send=may_send)
            self.engine = Engine(journal, lane, options or EngineOptions(), [self.events.append])
            return await self.engine.run()
        finally:
            journal.close()

    def outcome_rows(self, *states: ThingState) -> list[OutcomeRow]:
        """The things of the journal."""
        with JournalReader(self.path) as reader:
            return list(reader.outcomes(*states))

    def reported_outcomes(self) -> list[Outcome]:
        """The outcomes of all events."""
        return [outcome for event in self.events if isinstance(event, ThingsFinished) for outcome in event.outcomes]

    def associations(self) -> set[tuple[str, str]]:
        """The associations of the service now."""
        return {(core, thing) for core, things in self.service.fleet.things.items() for thing in things}

    def check_consistent(self) -> None:
        """Check what holds after every end of a run: no outcome is lost or invented."""
        rows = self.outcome_rows()
        assert sorted((row.core, row.thing) for row in rows) == sorted(set(self.pairs))
        associations = self.associations()
        for row in rows:
            assert row.state is not ThingState.CLAIMED
            if row.state.is_done:
                assert (row.core, row.thing) not in associations, f"{row} is recorded as done but still associated"
        assert all(len(things) <= 100 for _, _, things in self.transport.starts)

    def check_reported_outcomes(self) -> None:
        """Check, after a single uninterrupted start, that events report each final outcome once."""
        reported = sorted((o.core, o.thing, o.state) for o in self.reported_outcomes())
        final = [row for row in self.outcome_rows() if row.state.is_final]
        assert reported == sorted((row.core, row.thing, row.state) for row in final)


def manifest_pairs(service: Service) -> list[tuple[str, str]]:
    """The pairs of a manifest of the simulated fleet, including those that do not exist."""
    return list(service.fleet_spec.pairs())
