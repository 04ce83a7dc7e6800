"""Verifies a run: lists the cores again, compares with the journal, and records the result."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from asyncgg.engine import Lane, StopReason
from asyncgg.errors import JournalError, SnapshotError, UsageError
from asyncgg.events import Listener
from asyncgg.files import atomic_write_text, checked_output_path
from asyncgg.inventory import CoreState, FleetScan, Origin, ScanOptions, ScanProgress, ScanResult, scan_fleet
from asyncgg.journal import JournalReader, parse_operation
from asyncgg.models import Operation, RunState
from asyncgg.report.verification import MISMATCH_COLUMNS, verification_record_path
from asyncgg.retry_policy import RetryPolicy
from asyncgg.runs.connection import (
    connection_from_settings,
    require_same_region,
    resolve_saved_endpoint,
    restore_settings,
)
from asyncgg.runs.scan import scan_options, scan_rate
from asyncgg.runs.undo_plan import NOT_INHERITED
from asyncgg.runs.verify_check import CheckCounts, CheckResult, MergedSnapshots, check_all, touched_cores
from asyncgg.runs.verify_report import ScanFigures, Verification, verification_to_dict
from asyncgg.settings import Settings
from asyncgg.tables import write_table
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.observers import open_telemetry
from asyncgg.transport import CallerIdentity, Endpoint, ListingTransport, open_transport

_DELAYS: Final = RetryPolicy(base_delay=1.0, max_delay=20.0)

_RUN_ONLY_SETTINGS: Final = NOT_INHERITED | {"deadline", "abort_at", "abort_after"}
"""Settings of a run that do not apply to its verification."""


@dataclass(frozen=True, slots=True)
class VerifyContext:
    """Where a journal is verified: by default where its run was started."""

    journal: Path
    settings: Settings
    target: Endpoint
    account: str
    """The account in which the run was started; empty if unknown."""
    journal_name: str = ""
    """As `Verification.journal_name`."""


def load_context(journal: Path, overrides: Mapping[str, Any]) -> VerifyContext:
    """Restore settings and endpoint from the journal, with `overrides`. Blocking.

    Raises:
        JournalError: the journal cannot be read, or is in use: two limiters would share one quota.
        UsageError, SettingsError: as `require_same_region`, `resolve_saved_endpoint`,
            `restore_settings`.
    """
    with JournalReader(journal) as reader:
        if reader.is_running():
            raise JournalError(f"{journal} is in use by another process; wait for the end of the run, then verify")
        meta = reader.meta()
        require_same_region(meta, overrides)
        settings = restore_settings(reader.settings(), meta, overrides, exclude=_RUN_ONLY_SETTINGS)
    return VerifyContext(journal, settings, resolve_saved_endpoint(settings, meta, overrides), meta.get("account", ""))


async def verify_with_context(
    context: VerifyContext,
    *,
    account: CallerIdentity | None = None,
    on_start: Callable[[Verifier], object] = lambda verifier: None,
    **verifier_options: Any,
) -> Verification:
    """Verify a journal and, unless stopped, write the record next to the journal.

    `write_errors` of the result says what could not be written. `on_start` gets the verifier before
    the first request, to stop the verification. `verifier_options` are keywords of `Verifier`.

    Raises as `Verifier.run`, and `CredentialsError` if there are no credentials.
    """
    options, target = scan_options(context.settings), context.target
    caller = account or CallerIdentity("", "", "")
    origin = Origin(caller.account, target.region, target.url)
    labels = TelemetryLabels("scan", caller.account, target.region)
    async with (
        open_telemetry(context.settings, labels) as telemetry,
        open_transport(connection_from_settings(context.settings), context.settings.transport) as transport,
    ):
        verifier_options["listeners"] = [*verifier_options.get("listeners", ()), *telemetry.listeners]
        verifier_options["on_scan"] = telemetry.watching(verifier_options.get("on_scan"))
        lane = Lane(transport, scan_rate(context.settings, target.region), retry=options.retry)
        verifier = Verifier(context.journal, lane, transport, options, origin=origin, **verifier_options)
        on_start(verifier)
        verification = await verifier.run()
    verification = replace(
        verification,
        account=caller.account,
        arn=caller.arn,
        region=target.region,
        endpoint=target.url,
        journal_name=context.journal_name,
    )
    return await asyncio.to_thread(_write_verification_record, verification) if verification.finished else verification


def _write_verification_record(verification: Verification) -> Verification:
    """Write the record. A failure is reported and does not discard the result."""
    try:
        with atomic_write_text(verification_record_path(verification.journal), verification.journal) as file:
            file.write(json.dumps(verification_to_dict(verification), ensure_ascii=False, indent=1) + "\n")
    except UsageError as error:
        return replace(verification, write_errors=(*verification.write_errors, str(error)))
    return verification


class Verifier:
    """Scans the cores of one journal until the result matches, or for `wait` seconds; runs once.

    `out` keeps the snapshot (and numbered ones for further scans), so that a stopped scan can be
    resumed. `failures` gets the mismatches. `on_scan` gets each scan before its first request.
    `threaded` as for `scan_fleet`.
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
        on_scan: Callable[[FleetScan], object] = lambda scan: None,
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
        # All scans share the lane, so that waiting does not use more of the quota than one scan.
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._clock()
        self._stop_reason: StopReason | None = None
        self._stopped = asyncio.Event()
        self._active_scan: FleetScan | None = None
        self._scans: list[ScanResult] = []

    def stop(self, reason: StopReason) -> None:
        """Send no more requests and wait for those in flight."""
        self._stop_reason = self._stop_reason or reason
        self._stopped.set()
        if self._active_scan is not None:
            self._active_scan.stop(reason)

    def progress(self) -> ScanProgress | None:
        """The progress of the scan; None between two scans."""
        return None if self._active_scan is None else self._active_scan.progress()

    async def run(self) -> Verification:
        """Scan and compare; scan uncertain cores again while there is time.

        Raises as `scan_fleet`, and `UsageError` if `failures` would overwrite an input.
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
        if self._failures is not None:
            checked_output_path(self._failures, self._journal)
            if self._out is not None:
                checked_output_path(self._failures, self._out, "snapshot")

    async def _wait_for_next_scan(self) -> bool:
        """Wait for the next scan (the first one: at once); False without a next scan."""
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
        """Write the list. A failure is reported and does not discard the result."""
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
            write_table(self._failures, MISMATCH_COLUMNS, rows, self._journal)
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
