"""Rule: whether what an earlier start left in its night may be gone on with is decided here; nothing is done with it.

What was decided is gone on with as it was decided. So that must be recent, by the same policy and lists, in the same
account and Region; and where a guard stopped it, a person has to look first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.cleanup.means import FRESH
from asyncgg.cleanup.nights import Night
from asyncgg.errors import AsyncggError, GuardError
from asyncgg.inventory import Origin, Snapshot
from asyncgg.journal import JournalReader, is_locked
from asyncgg.model import RunState
from asyncgg.runs.evidence import provenance_from_meta
from asyncgg.transport import CoreFilter

__all__ = ["LeftOver", "left_over", "refuse_while_running"]

_RECENT: Final = 48 * 3600.0
"""Seconds since its sweep for which a run is gone on with: last night's, though tonight be late."""
_RESUMABLE: Final = frozenset({RunState.PLANNED, RunState.INTERRUPTED, RunState.DEADLINE})
"""A run that a guard stopped is not among them: what smelt then is for a person to look at."""
_STOPPED: Final = frozenset({"interrupted", "deadline"})


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What there is to go on with: a run, or a sweep that nothing was decided by, or neither."""

    run: bool = False
    sweep: bool = False
    why_not: str = ""
    """Why what there is must be left; empty when there is nothing."""


def refuse_while_running(night: Night) -> None:
    """Raise `GuardError` when somebody runs the night's journal now: two limiters would share one quota."""
    if is_locked(night.journal):
        raise GuardError(f"{night.journal}: somebody runs it by hand; wait for it or stop it; nothing was sent")


def left_over(night: Night, digest: str, origin: Origin, filters: CoreFilter, now: float) -> LeftOver:
    """What of `night` this start goes on with. `digest`: of all that decides; `now`: seconds since 1970.

    Raises `GuardError` when its run must not be gone on with from here.
    """
    try:
        if night.decided:
            return _run(night, digest, origin, now)
        return _sweep(night, origin, filters, now)
    except GuardError:
        raise
    except AsyncggError as error:  # damaged, or from another version: it is not touched
        return LeftOver(why_not=str(error))


def _run(night: Night, digest: str, origin: Origin, now: float) -> LeftOver:
    with JournalReader(night.journal) as reader:
        meta, state, pending = reader.meta(), reader.state(), reader.counts().pending
    if not pending or state not in _RESUMABLE:
        return LeftOver()
    if meta.get("policy") != digest:
        return LeftOver(why_not="since it was decided, the policy, its protect list or its lists have changed")
    evidence = provenance_from_meta(meta, night.journal)
    if evidence is None or evidence.taken_at is None or not 0 <= now - evidence.taken_at <= _RECENT:
        return LeftOver(why_not=f"its sweep is not of the last {_RECENT / 3600:.0f} hours")
    before = Origin(meta.get("account", ""), meta.get("region", ""), meta.get("endpoint", ""))
    if before != origin:
        raise GuardError(
            f"{night.journal}: this run was begun in {_told(before)}, now it would go on in {_told(origin)}; nothing"
            " was sent. Start the policy as it was started then, finish it with asyncgg resume, or move its folder away"
        )
    return LeftOver(run=True)


def _sweep(night: Night, origin: Origin, filters: CoreFilter, now: float) -> LeftOver:
    if not night.snapshot.is_file() or (night.state() or "interrupted") not in _STOPPED:
        return LeftOver()
    with Snapshot(night.snapshot) as snapshot:
        if snapshot.origin != origin:
            return LeftOver(why_not=f"its sweep is of {_told(snapshot.origin)}")
        if snapshot.filters != filters or snapshot.lists_named_cores_only:
            return LeftOver(why_not="its sweep is of other core devices")
        if not 0 <= now - snapshot.started_at <= FRESH:
            return LeftOver(why_not=f"its sweep was not begun in the last {FRESH / 3600:.0f} hours")
    return LeftOver(sweep=True)


def _told(origin: Origin) -> str:
    return f"account {origin.account or 'unknown'}, {origin.region} ({origin.endpoint})"
