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

from asyncgg.engine import Lane, StopReason
from asyncgg.errors import JournalError, SnapshotError, UsageError
from asyncgg.events import Listener
from asyncgg.files import checked_output_path
from asyncgg.inventory import CoreState, FleetScan, Origin, ScanOptions, ScanResult, scan_fleet
from asyncgg.journal import JournalReader, parse_operation
from asyncgg.models import Operation, RunState
from asyncgg.report.left import write_mismatches
from asyncgg.retry_policy import RetryPolicy
from asyncgg.runs.verify_check import CheckCounts, CheckResult, MergedSnapshots, check_all, touched_cores
from asyncgg.runs.verify_report import ScanFigures, Verification
from asyncgg.transport import ListingTransport

__all__ = ["Verifier"]

_DELAYS: Final = RetryPolicy(base_delay=1.0, max_delay=20.0)


class Verifier:
    """Looks at the cores of one journal until all is as it says, or `wait` seconds are over. One object, one `run`.

    `out` keeps the listing (a further one beside it for each further look), and lets a stopped one go on. `failures`
    lists what is left. `on_scan` gets each sweep before its first request. `threaded` as for `sweep`.
    """

    def __init__(
        self,
        journal: Path,
        lane: Lane,
        transport: ListingTransport,
        options: ScanOptions,
        *,
        origin: Origin | None = None,
        wait: float = 0.0,
        out: Path | None = None,
        failures: Path | None = None,
        listeners: Sequence[Listener] = (),
        on_scan: Callable[[FleetScan], object] = lambda sweep: None,
        threaded: bool = True,
    ) -> None:
        self._journal = journal
        self._lane = lane
        self._transport = transport
        self._options = options
        self._scan_arguments: dict[str, Any] = {"origin": origin, "listeners": listeners, "threaded": threaded}
        self._wait = wait
        self._out = out
        self._failures = failures
        self._on_scan = on_scan
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._clock()
        self._stop_reason: StopReason | None = None
        self._stopped = asyncio.Event()
        self._active_scan: FleetScan | None = None
        self._scans: list[ScanResult] = []

    def stop(self, reason: StopReason) -> None:
        """Ask for nothing new, let what is in flight end."""
        self._stop_reason = self._stop_reason or reason
        self._stopped.set()
        if self._active_scan is not None:
            self._active_scan.stop(reason)

    async def run(self) -> Verification:
        """Look, compare, and look again as long as that may help.

        Raises what `sweep` raises, `JournalError`, and `UsageError` when the list of failures is in the way.
        """
        verify_started_at = time.time()
        self._check_output_paths()
        with ExitStack() as stack:
            reader = stack.enter_context(JournalReader(self._journal))
            snapshots = stack.enter_context(MergedSnapshots())
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncgg-verify-")))
            meta = reader.meta()
            operation = parse_operation(meta.get("operation", ""), self._journal)
            run_started_at = float(meta.get("created") or 0)
            cores = await asyncio.to_thread(touched_cores, reader)
            uncertain, counts = cores, CheckCounts()
            while uncertain and await self._wait_for_next_scan():
                await self._scan(self._snapshot_path(directory), uncertain)
                snapshots.add(self._scans[-1].path)
                counts = CheckCounts()
                await asyncio.to_thread(_compare, reader, operation, snapshots, counts, run_started_at)
                uncertain = counts.uncertain_cores if self._scans[-1].finished else []
            started_at = verify_started_at if snapshots.started_at is None else snapshots.started_at
            verification = self._build_verification(
                meta, operation, counts, _cores_by_state(snapshots, cores), started_at
            )
            if self._failures is not None:
                verification = await asyncio.to_thread(
                    self._write_mismatches, reader, snapshots, verification, run_started_at
                )
            return verification

    def _check_output_paths(self) -> None:
        """What is looked at, or kept, must not be written over."""
        if self._failures is not None:
            checked_output_path(self._failures, self._journal)
            if self._out is not None:
                checked_output_path(self._failures, self._out, "snapshot")

    async def _wait_for_next_scan(self) -> bool:
        """Wait until the next look is due; False when there is to be none. The first one is due at once."""
        if self._stop_reason is not None:
            return False
        if not self._scans:
            return True
        remaining = self._started_at + self._wait - self._clock()
        if remaining <= 0:
            return False
        try:
            async with asyncio.timeout(min(remaining, _DELAYS.delay(len(self._scans)))):
                await self._stopped.wait()
        except TimeoutError:
            return True
        return False

    async def _scan(self, path: Path, cores: Sequence[str]) -> None:
        options, deadline = self._options, self._options.deadline
        if deadline is not None:
            options = replace(options, deadline=max(0.0, self._started_at + deadline - self._clock()))
        self._scans.append(
            await scan_fleet(
                path,
                self._lane,
                self._transport,
                cores=cores,
                options=options,
                on_scan=self._set_active_scan,
                **self._scan_arguments,
            )
        )
        self._active_scan = None

    def _set_active_scan(self, scan: FleetScan) -> None:
        self._active_scan = scan
        self._on_scan(scan)

    def _snapshot_path(self, directory: Path) -> Path:
        number = len(self._scans) + 1
        if self._out is None:
            return directory / f"{number}.db"
        return self._out if number == 1 else self._out.with_name(f"{self._out.stem}-{number}{self._out.suffix}")

    def _build_verification(
        self, meta: dict[str, str], operation: Operation, counts: CheckCounts, cores: dict[str, int], started_at: float
    ) -> Verification:
        last = self._scans[-1] if self._scans else None
        state, reason = RunState.COMPLETE, ""
        if last is not None and not last.finished:
            state, reason = last.state, last.reason
        elif self._stop_reason is not None and counts.uncertain_cores:
            state, reason = self._stop_reason.state, self._stop_reason.message
        elif counts.results[CheckResult.UNCHECKED]:
            state = RunState.PARTIAL
        return Verification(
            run=meta.get("run", ""),
            journal=self._journal,
            operation=operation,
            state=state,
            reason=reason,
            is_auth_error=last is not None and last.is_auth_error,
            started_at=started_at,
            finished_at=time.time(),
            counts=counts,
            cores=cores,
            figures=ScanFigures(
                scans=len(self._scans),
                sent=sum(scan.sent for scan in self._scans),
                minimum_requests=sum(scan.minimum for scan in self._scans),
                throttled=sum(scan.throttled for scan in self._scans),
                retried=sum(scan.retried for scan in self._scans),
                seconds=self._clock() - self._started_at,
            ),
            snapshots=() if self._out is None else tuple(scan.path for scan in self._scans),
        )

    def _write_mismatches(
        self, reader: JournalReader, snapshots: MergedSnapshots, verification: Verification, run_started_at: float
    ) -> Verification:
        """Write the list; a place that cannot be written must not cost what was found."""
        assert self._failures is not None
        rows = (
            (
                checked.core,
                checked.thing,
                verification.mismatch_label(
                    reassociated=checked.associated_at is not None and checked.associated_at > run_started_at
                ),
                checked.associated_at,
            )
            for checked in check_all(
                reader, verification.operation, snapshots.things_on, CheckCounts(), run_started_at=run_started_at
            )
            if checked.result is CheckResult.MISMATCH
        )
        try:
            write_mismatches(self._failures, rows, self._journal)
        except (JournalError, SnapshotError):
            raise
        except UsageError as error:
            return replace(verification, write_errors=(*verification.write_errors, str(error)))
        return verification


def _compare(
    reader: JournalReader, operation: Operation, snapshots: MergedSnapshots, counts: CheckCounts, run_started_at: float
) -> None:
    for _ in check_all(reader, operation, snapshots.things_on, counts, run_started_at=run_started_at):
        pass


def _cores_by_state(snapshots: MergedSnapshots, cores: Sequence[str]) -> dict[str, int]:
    counts = snapshots.count_states(cores)
    states_by_label = {"listed": CoreState.DONE, "vanished": CoreState.VANISHED, "denied": CoreState.DENIED}
    states_by_label |= {"failed": CoreState.FAILED, "waiting": CoreState.WAITING}
    return {label: counts[state] for label, state in states_by_label.items()}
