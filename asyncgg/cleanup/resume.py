"""Rule: whether what an earlier start left in its night may be gone on with is decided here; nothing is done with it.

What was decided is gone on with as it was decided. So that must be recent, by the same policy and lists, in the same
account and Region; and where a guard stopped it, a person has to look first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.cleanup.context import MAX_SCAN_AGE
from asyncgg.cleanup.state import RunDirectory
from asyncgg.errors import AsyncggError, GuardError
from asyncgg.inventory import Origin, Snapshot
from asyncgg.journal import JournalReader, is_locked
from asyncgg.models import RunState
from asyncgg.runs.provenance import provenance_from_meta
from asyncgg.transport import CoreFilter

__all__ = ["Resumable", "find_resumable", "require_not_running"]

_MAX_RUN_AGE: Final = 48 * 3600.0
"""Seconds since its sweep for which a run is gone on with: last night's, though tonight be late."""
_RESUMABLE_STATES: Final = frozenset({RunState.PLANNED, RunState.INTERRUPTED, RunState.DEADLINE})
"""A run that a guard stopped is not among them: what smelt then is for a person to look at."""
_STOPPED_STATES: Final = frozenset({"interrupted", "deadline"})


@dataclass(frozen=True, slots=True)
class Resumable:
    """What there is to go on with: a run, or a sweep that nothing was decided by, or neither."""

    run: bool = False
    scan: bool = False
    skip_reason: str = ""
    """Why what there is must be left; empty when there is nothing."""


def require_not_running(run_dir: RunDirectory) -> None:
    """Raise `GuardError` when somebody runs the night's journal now: two limiters would share one quota."""
    if is_locked(run_dir.journal):
        raise GuardError(f"{run_dir.journal}: somebody runs it by hand; wait for it or stop it; nothing was sent")


def find_resumable(run_dir: RunDirectory, digest: str, origin: Origin, filters: CoreFilter, now: float) -> Resumable:
    """What of `night` this start goes on with. `digest`: of all that decides; `now`: seconds since 1970.

    Raises `GuardError` when its run must not be gone on with from here.
    """
    try:
        if run_dir.has_journal:
            return _resumable_run(run_dir, digest, origin, now)
        return _resumable_scan(run_dir, origin, filters, now)
    except GuardError:
        raise
    except AsyncggError as error:  # damaged, or from another version: it is not touched
        return Resumable(skip_reason=str(error))


def _resumable_run(run_dir: RunDirectory, digest: str, origin: Origin, now: float) -> Resumable:
    with JournalReader(run_dir.journal) as reader:
        meta, state, pending = reader.meta(), reader.state(), reader.counts().pending
    if not pending or state not in _RESUMABLE_STATES:
        return Resumable()
    if meta.get("policy") != digest:
        return Resumable(skip_reason="since it was decided, the policy, its protect list or its lists have changed")
    provenance = provenance_from_meta(meta, run_dir.journal)
    if provenance is None or provenance.taken_at is None or not 0 <= now - provenance.taken_at <= _MAX_RUN_AGE:
        return Resumable(skip_reason=f"its sweep is not of the last {_MAX_RUN_AGE / 3600:.0f} hours")
    recorded = Origin(meta.get("account", ""), meta.get("region", ""), meta.get("endpoint", ""))
    if recorded != origin:
        raise GuardError(
            f"{run_dir.journal}: this run was begun in {_format_origin(recorded)}, now it would go on in {_format_origin(origin)}; nothing"
            " was sent. Start the policy as it was started then, finish it with asyncgg resume, or move its folder away"
        )
    return Resumable(run=True)


def _resumable_scan(run_dir: RunDirectory, origin: Origin, filters: CoreFilter, now: float) -> Resumable:
    if not run_dir.snapshot.is_file() or (run_dir.state() or "interrupted") not in _STOPPED_STATES:
        return Resumable()
    with Snapshot(run_dir.snapshot) as snapshot:
        if snapshot.origin != origin:
            return Resumable(skip_reason=f"its sweep is of {_format_origin(snapshot.origin)}")
        if snapshot.filters != filters or snapshot.lists_named_cores_only:
            return Resumable(skip_reason="its sweep is of other core devices")
        if not 0 <= now - snapshot.started_at <= MAX_SCAN_AGE:
            return Resumable(skip_reason=f"its sweep was not begun in the last {MAX_SCAN_AGE / 3600:.0f} hours")
    return Resumable(scan=True)


def _format_origin(origin: Origin) -> str:
    return f"account {origin.account or 'unknown'}, {origin.region} ({origin.endpoint})"
