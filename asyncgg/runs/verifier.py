"""Rule: the looking again of a verification lives here: list the touched cores, compare, repeat what is in doubt.

All listings go through one lane, so that waiting costs no more of the quota than looking once.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asyncgg.backoff import RetryPolicy
from asyncgg.engine import Lane, StopReason
from asyncgg.errors import JournalError, SnapshotError, UsageError
from asyncgg.events import Listener
from asyncgg.inventory import CoreState, FleetScan, Origin, ScanOptions, ScanResult, scan_fleet
from asyncgg.journal import JournalReader, parse_operation
from asyncgg.manifest.writing import place_of
from asyncgg.model import Operation, RunState
from asyncgg.report.left import write_mismatches
from asyncgg.runs.verification import Figures, Verification
from asyncgg.runs.verifying import Finding, Sight, Tally, check, touched_cores
from asyncgg.transport import ListingTransport

__all__ = ["Verifier"]

_PAUSES: Final = RetryPolicy(base_delay=1.0, max_delay=20.0)


class Verifier:
    """Looks at the cores of one journal until all is as it says, or `wait` seconds are over. One object, one `run`.

    `out` keeps the listing (a further one beside it for each further look), and lets a stopped one go on. `failures`
    lists what is left. `on_sweep` gets each sweep before its first request. `threaded` as for `sweep`.
    """

    def __init__(
        self,
        journal: Path,
        lane: Lane,
        reads: ListingTransport,
        options: ScanOptions,
        *,
        origin: Origin | None = None,
        wait: float = 0.0,
        out: Path | None = None,
        failures: Path | None = None,
        listeners: Sequence[Listener] = (),
        on_sweep: Callable[[FleetScan], object] = lambda sweep: None,
        threaded: bool = True,
    ) -> None:
        self._journal = journal
        self._lane = lane
        self._reads = reads
        self._options = options
        self._how: dict[str, Any] = {"origin": origin, "listeners": listeners, "threaded": threaded}
        self._wait = wait
        self._out = out
        self._failures = failures
        self._on_sweep = on_sweep
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._stop: StopReason | None = None
        self._stopped = asyncio.Event()
        self._sweep: FleetScan | None = None
        self._looks: list[ScanResult] = []

    def stop(self, stop: StopReason) -> None:
        """Ask for nothing new, let what is in flight end."""
        self._stop = self._stop or stop
        self._stopped.set()
        if self._sweep is not None:
            self._sweep.stop(stop)

    async def run(self) -> Verification:
        """Look, compare, and look again as long as that may help.

        Raises what `sweep` raises, `JournalError`, and `UsageError` when the list of failures is in the way.
        """
        began_looking = time.time()
        self._refuse_place()
        with ExitStack() as stack:
            reader = stack.enter_context(JournalReader(self._journal))
            sight = stack.enter_context(Sight())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncgg-verify-")))
            meta = reader.meta()
            operation = parse_operation(meta.get("operation", ""), self._journal)
            began = float(meta.get("created") or 0)
            cores = await asyncio.to_thread(touched_cores, reader)
            doubtful, tally = cores, Tally()
            while doubtful and await self._pause():
                await self._look(self._snapshot(folder), doubtful)
                sight.add(self._looks[-1].path)
                tally = Tally()
                await asyncio.to_thread(_compare, reader, operation, sight, tally, began)
                doubtful = tally.doubtful if self._looks[-1].finished else []
            since = began_looking if sight.begun_at is None else sight.begun_at
            done = self._verification(meta, operation, tally, _by_state(sight, cores), since)
            if self._failures is not None:
                done = await asyncio.to_thread(self._with_failures, reader, sight, done, began)
            return done

    def _refuse_place(self) -> None:
        """What is looked at, or kept, must not be written over."""
        if self._failures is not None:
            place_of(self._failures, self._journal)
            if self._out is not None:
                place_of(self._failures, self._out, "snapshot")

    async def _pause(self) -> bool:
        """Wait until the next look is due; False when there is to be none. The first one is due at once."""
        if self._stop is not None:
            return False
        if not self._looks:
            return True
        left = self._begun + self._wait - self._clock()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(min(left, _PAUSES.delay(len(self._looks)))):
                await self._stopped.wait()
        except TimeoutError:
            return True
        return False

    async def _look(self, path: Path, cores: Sequence[str]) -> None:
        options, deadline = self._options, self._options.deadline
        if deadline is not None:
            options = replace(options, deadline=max(0.0, self._begun + deadline - self._clock()))
        self._looks.append(
            await scan_fleet(
                path, self._lane, self._reads, cores=cores, options=options, on_scan=self._watch, **self._how
            )
        )
        self._sweep = None

    def _watch(self, sweep: FleetScan) -> None:
        self._sweep = sweep
        self._on_sweep(sweep)

    def _snapshot(self, folder: Path) -> Path:
        number = len(self._looks) + 1
        if self._out is None:
            return folder / f"{number}.db"
        return self._out if number == 1 else self._out.with_name(f"{self._out.stem}-{number}{self._out.suffix}")

    def _verification(
        self, meta: dict[str, str], operation: Operation, tally: Tally, cores: dict[str, int], since: float
    ) -> Verification:
        last = self._looks[-1] if self._looks else None
        state, reason = RunState.COMPLETE, ""
        if last is not None and not last.finished:
            state, reason = last.state, last.reason
        elif self._stop is not None and tally.doubtful:
            state, reason = self._stop.state, self._stop.message
        elif tally.findings[Finding.UNSEEN]:
            state = RunState.PARTIAL
        return Verification(
            run=meta.get("run", ""),
            journal=self._journal,
            operation=operation,
            state=state,
            reason=reason,
            credentials=last is not None and last.is_auth_error,
            begun_at=since,
            at=time.time(),
            tally=tally,
            cores=cores,
            figures=Figures(
                looks=len(self._looks),
                sent=sum(look.sent for look in self._looks),
                minimum=sum(look.minimum for look in self._looks),
                throttled=sum(look.throttled for look in self._looks),
                retried=sum(look.retried for look in self._looks),
                seconds=self._clock() - self._begun,
            ),
            snapshots=() if self._out is None else tuple(look.path for look in self._looks),
        )

    def _with_failures(self, reader: JournalReader, sight: Sight, done: Verification, began: float) -> Verification:
        """Write the list; a place that cannot be written must not cost what was found."""
        assert self._failures is not None
        rows = (
            (
                one.core,
                one.thing,
                done.found(again=one.associated_at is not None and one.associated_at > began),
                one.associated_at,
            )
            for one in check(reader, done.operation, sight.present, Tally(), began=began)
            if one.finding is Finding.LEFT
        )
        try:
            write_mismatches(self._failures, rows, self._journal)
        except (JournalError, SnapshotError):
            raise
        except UsageError as error:
            return replace(done, unkept=(*done.unkept, str(error)))
        return done


def _compare(reader: JournalReader, operation: Operation, sight: Sight, tally: Tally, began: float) -> None:
    for _ in check(reader, operation, sight.present, tally, began=began):
        pass


def _by_state(sight: Sight, cores: Sequence[str]) -> dict[str, int]:
    states = sight.states(cores)
    words = {"listed": CoreState.DONE, "vanished": CoreState.VANISHED, "denied": CoreState.DENIED}
    words |= {"failed": CoreState.FAILED, "waiting": CoreState.WAITING}
    return {word: states[state] for word, state in words.items()}
