"""Rule: whether a night's first things have really gone is found out here: their cores are listed again.

Nothing says how soon a list shows what was changed, so one that still shows a thing is asked again for a minute.
"""

from __future__ import annotations

import asyncio
from typing import Final

from asyncgg.cleanup.context import PolicyContext
from asyncgg.cleanup.reins import StoppedError
from asyncgg.cleanup.state import RunDirectory
from asyncgg.engine import StopReason
from asyncgg.errors import GuardError
from asyncgg.inventory import ScanResult, Snapshot
from asyncgg.journal import JournalReader, JournalWriter
from asyncgg.models import RunState, ThingState

__all__ = ["count_still_associated", "is_canary_verified", "mark_canary_failed", "mark_canary_passed"]

_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two listings."""
_META_KEY: Final = "canary"
_PASSED: Final = "passed"
_STOPPED_STATES: Final = frozenset({RunState.INTERRUPTED, RunState.DEADLINE})


async def count_still_associated(run_dir: RunDirectory, canary_size: int, context: PolicyContext) -> int:
    """How many of the night's `first` things that were disassociated their cores still list, a minute later at most.

    Raises:
        GuardError: a core could not be listed, so that nobody knows.
        StoppedError: the listing was stopped, or is not permitted.
    """
    unverified = _disassociated(run_dir, canary_size)
    for delay in (*_DELAYS, None):
        run_dir.remove(run_dir.canary_snapshot)
        scan = await context.scan(run_dir.canary_snapshot, cores=sorted(unverified), is_top_level=False)
        _require_complete(scan)
        unverified = _remaining(run_dir, unverified)
        if not unverified or delay is None:
            break
        await asyncio.sleep(delay)
    return sum(map(len, unverified.values()))


def is_canary_verified(run_dir: RunDirectory) -> bool:
    """Whether the canary of this night's run was verified."""
    with JournalReader(run_dir.journal) as reader:
        return reader.meta().get(_META_KEY) == _PASSED


async def mark_canary_passed(run_dir: RunDirectory) -> None:
    """Write down that it was verified."""
    await _write_meta(run_dir, **{_META_KEY: _PASSED})


async def mark_canary_failed(run_dir: RunDirectory, reason: str) -> None:
    """Write down that a guard stopped the run, which is then not gone on with by itself."""
    await _write_meta(run_dir, state=RunState.ABORTED, reason=reason)


async def _write_meta(run_dir: RunDirectory, **values: object) -> None:
    journal = JournalWriter(run_dir.journal, threaded=False)
    try:
        await journal.submit(lambda store: store.put(**values))
    finally:
        journal.close()


def _require_complete(scan: ScanResult) -> None:
    if scan.is_auth_error or scan.state in _STOPPED_STATES:
        raise StoppedError(StopReason(scan.state, f"the canary was being verified: {scan.reason}", scan.is_auth_error))
    if scan.failed_share:
        detail = f": {scan.reason}" if scan.reason else ""
        raise GuardError(f"the canary cannot be verified, its cores could not all be listed{detail}")


def _disassociated(run_dir: RunDirectory, canary_size: int) -> dict[str, set[str]]:
    """The first things that are done, by core. They are the first in the journal's order, too."""
    things: dict[str, set[str]] = {}
    with JournalReader(run_dir.journal) as reader:
        for number, row in enumerate(reader.outcomes()):
            if number >= canary_size:
                break
            if row.state is ThingState.DISASSOCIATED:
                things.setdefault(row.core, set()).add(row.thing)
    return things


def _remaining(run_dir: RunDirectory, unverified: dict[str, set[str]]) -> dict[str, set[str]]:
    remaining: dict[str, set[str]] = {}
    with Snapshot(run_dir.canary_snapshot) as snapshot:
        for association in snapshot.associations():
            if association.thing in unverified.get(association.core, ()):
                remaining.setdefault(association.core, set()).add(association.thing)
    return remaining
