"""Rule: whether a night's first things have really gone is found out here: their cores are listed again.

Nothing says how soon a list shows what was changed, so one that still shows a thing is asked again for a minute.
"""

from __future__ import annotations

import asyncio
from typing import Final

from asyncgg.cleanup.means import Means
from asyncgg.cleanup.nights import Night
from asyncgg.cleanup.reins import StoppedError
from asyncgg.engine import StopReason
from asyncgg.errors import GuardError
from asyncgg.inventory import ScanResult, Snapshot
from asyncgg.journal import JournalReader, JournalWriter
from asyncgg.model import RunState, ThingState

__all__ = ["has_passed", "note_failed", "note_passed", "still_listed"]

_WAITS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two listings."""
_KEY: Final = "canary"
_PASSED: Final = "passed"
_STOPPED: Final = frozenset({RunState.INTERRUPTED, RunState.DEADLINE})


async def still_listed(night: Night, first: int, means: Means) -> int:
    """How many of the night's `first` things that were disassociated their cores still list, a minute later at most.

    Raises:
        GuardError: a core could not be listed, so that nobody knows.
        StoppedError: the listing was stopped, or is not permitted.
    """
    doubtful = _done(night, first)
    for wait in (*_WAITS, None):
        night.remove(night.canary)
        swept = await means.sweep(night.canary, cores=sorted(doubtful), seen=False)
        _must_be_whole(swept)
        doubtful = _left(night, doubtful)
        if not doubtful or wait is None:
            break
        await asyncio.sleep(wait)
    return sum(map(len, doubtful.values()))


def has_passed(night: Night) -> bool:
    """Whether the canary of this night's run was verified."""
    with JournalReader(night.journal) as reader:
        return reader.meta().get(_KEY) == _PASSED


async def note_passed(night: Night) -> None:
    """Write down that it was verified."""
    await _put(night, **{_KEY: _PASSED})


async def note_failed(night: Night, reason: str) -> None:
    """Write down that a guard stopped the run, which is then not gone on with by itself."""
    await _put(night, state=RunState.ABORTED, reason=reason)


async def _put(night: Night, **values: object) -> None:
    journal = JournalWriter(night.journal, threaded=False)
    try:
        await journal.submit(lambda store: store.put(**values))
    finally:
        journal.close()


def _must_be_whole(swept: ScanResult) -> None:
    if swept.is_auth_error or swept.state in _STOPPED:
        raise StoppedError(
            StopReason(swept.state, f"the canary was being verified: {swept.reason}", swept.is_auth_error)
        )
    if swept.failed_share:
        said = f": {swept.reason}" if swept.reason else ""
        raise GuardError(f"the canary cannot be verified, its cores could not all be listed{said}")


def _done(night: Night, first: int) -> dict[str, set[str]]:
    """The first things that are done, by core. They are the first in the journal's order, too."""
    things: dict[str, set[str]] = {}
    with JournalReader(night.journal) as reader:
        for number, row in enumerate(reader.outcomes()):
            if number >= first:
                break
            if row.state is ThingState.DISASSOCIATED:
                things.setdefault(row.core, set()).add(row.thing)
    return things


def _left(night: Night, doubtful: dict[str, set[str]]) -> dict[str, set[str]]:
    left: dict[str, set[str]] = {}
    with Snapshot(night.canary) as snapshot:
        for found in snapshot.associations():
            if found.thing in doubtful.get(found.core, ()):
                left.setdefault(found.core, set()).add(found.thing)
    return left
