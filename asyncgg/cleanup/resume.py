"""Whether an unfinished policy run can be resumed."""

# A resumed run sends what was decided before. So the decisions must be recent and made with the
# same policy, lists, account and Region. A run that a limit stopped needs a person.

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.cleanup.context import MAX_SCAN_AGE
from asyncgg.errors import AsyncggError, GuardError
from asyncgg.inventory import Origin, Snapshot
from asyncgg.journal import JournalReader
from asyncgg.models import RunState
from asyncgg.run_directory import RunDirectory
from asyncgg.runs.provenance import provenance_from_meta
from asyncgg.storage import is_locked
from asyncgg.transport import CoreFilter

_MAX_RUN_AGE: Final = 48 * 3600.0
"""Seconds since its scan for which a run can be resumed: two daily runs."""
_RESUMABLE_STATES: Final = frozenset({RunState.PLANNED, RunState.INTERRUPTED, RunState.DEADLINE})
_STOPPED_STATES: Final = frozenset({"interrupted", "deadline"})


@dataclass(frozen=True, slots=True)
class Resumable:
    """What can be resumed: a run, or a scan without decisions, or nothing."""

    run: bool = False
    scan: bool = False
    skip_reason: str = ""
    """Why an unfinished run is not resumed; else empty."""


def require_not_running(run_dir: RunDirectory) -> None:
    """Raise `GuardError` if the run's journal is in use: two limiters would share one quota."""
    if is_locked(run_dir.journal):
        raise GuardError(
            f"{run_dir.journal}: the journal is in use; wait for that process or stop it; nothing was sent"
        )


def find_resumable(run_dir: RunDirectory, digest: str, origin: Origin, filters: CoreFilter, now: float) -> Resumable:
    """What this start can resume. `digest`: see `policy_digest`; `now`: seconds since 1970.

    Raises `GuardError` if the run belongs to another account, Region or endpoint.
    """
    try:
        if run_dir.has_journal:
            return _resumable_run(run_dir, digest, origin, now)
        return _resumable_scan(run_dir, origin, filters, now)
    except GuardError:
        raise
    except AsyncggError as error:  # damaged, or another version: left untouched
        return Resumable(skip_reason=str(error))


def _resumable_run(run_dir: RunDirectory, digest: str, origin: Origin, now: float) -> Resumable:
    with JournalReader(run_dir.journal) as reader:
        meta, state, pending = reader.meta(), reader.state(), reader.counts().pending
    if not pending or state not in _RESUMABLE_STATES:
        return Resumable()
    if meta.get("policy") != digest:
        return Resumable(skip_reason="policy or lists changed since the run was planned")
    provenance = provenance_from_meta(meta, run_dir.journal)
    if provenance is None or provenance.taken_at is None or not 0 <= now - provenance.taken_at <= _MAX_RUN_AGE:
        return Resumable(skip_reason=f"the scan is older than {_MAX_RUN_AGE / 3600:.0f} hours or in the future")
    recorded = Origin(meta.get("account", ""), meta.get("region", ""), meta.get("endpoint", ""))
    if recorded != origin:
        raise GuardError(
            f"{run_dir.journal}: started in {_format_origin(recorded)}, now in {_format_origin(origin)}; nothing was"
            " sent. Run the policy where it was started, complete the journal with asyncgg resume, or move its folder"
        )
    return Resumable(run=True)


def _resumable_scan(run_dir: RunDirectory, origin: Origin, filters: CoreFilter, now: float) -> Resumable:
    if not run_dir.snapshot.is_file() or (run_dir.state() or "interrupted") not in _STOPPED_STATES:
        return Resumable()
    with Snapshot(run_dir.snapshot) as snapshot:
        if snapshot.origin != origin:
            return Resumable(skip_reason=f"the scan is of {_format_origin(snapshot.origin)}")
        if snapshot.filters != filters or snapshot.lists_named_cores_only:
            return Resumable(skip_reason="the scan is of other core devices")
        if not 0 <= now - snapshot.started_at <= MAX_SCAN_AGE:
            return Resumable(skip_reason=f"the scan is older than {MAX_SCAN_AGE / 3600:.0f} hours or in the future")
    return Resumable(scan=True)


def _format_origin(origin: Origin) -> str:
    return f"account {origin.account or 'unknown'}, {origin.region} ({origin.endpoint})"
