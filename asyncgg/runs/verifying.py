"""Rule: what a journal says of its things is held against what was listed since; here, and nowhere is anything sent.

Only what the journal calls done can be refuted. What failed or was never sent is told beside it: a thing of which it is
not known whether the run changed it may turn out to be so all the same.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from asyncgg.inventory import CoreState, Snapshot
from asyncgg.journal import Certainty, JournalReader, iter_effects
from asyncgg.model import Operation

__all__ = ["Checked", "Finding", "Sight", "Tally", "check", "finding_of", "touched_cores"]

_SEEN: Final = frozenset({CoreState.DONE, CoreState.VANISHED})
_CLAIMED_DONE: Final = frozenset({Certainty.ACCEPTED, Certainty.CONFIRMED, Certainty.ALREADY_DONE})


class Finding(Enum):
    """What one thing turned out to be."""

    SO = "so"
    """Done, as the journal says."""
    LEFT = "left"
    """Done by the journal, and it is not so."""
    UNSEEN = "unseen"
    """Done by the journal, and its core could not be listed."""
    OPEN = "open"
    """Not done by the journal, and it is not so, or nobody looked."""
    SO_ANYWAY = "so anyway"
    """Not done by the journal, and it is so all the same."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing of a run, looked at again."""

    core: str
    thing: str
    finding: Finding
    associated_at: float | None
    """Seconds since 1970, UTC, of the association that is there; None when there is none."""


@dataclass(slots=True)
class Tally:
    """How many things turned out how; `doubtful` are the cores worth another look."""

    findings: Counter[Finding] = field(default_factory=Counter)
    again: int = 0
    """Of the things left: associated after the run began, so somebody associated them again."""
    doubtful: list[str] = field(default_factory=list)


Present = Callable[[str], Mapping[str, float | None] | None]
"""By core: the things that were listed and when each was associated; None when the core could not be listed."""


def finding_of(sureness: Certainty, operation: Operation, present: bool | None) -> Finding:
    """What a thing is found to be; `present`: whether the association was listed, None when nobody could see."""
    claimed = sureness in _CLAIMED_DONE
    if present is None:
        return Finding.UNSEEN if claimed else Finding.OPEN
    so = present == (operation is Operation.ASSOCIATE)
    if claimed:
        return Finding.SO if so else Finding.LEFT
    return Finding.SO_ANYWAY if so else Finding.OPEN


def touched_cores(reader: JournalReader) -> list[str]:
    """The cores at which the run may have changed something."""
    found: dict[str, None] = {}
    for change in iter_effects(reader):
        if change.certainty is not Certainty.UNCHANGED:
            found[change.core] = None
    return list(found)


def check(
    reader: JournalReader, operation: Operation, present: Present, tally: Tally, *, began: float
) -> Iterator[Checked]:
    """Every thing of the journal as it turned out, by core and name; `tally` is filled on the way.

    `began` is when the run began, in seconds since 1970.
    """
    for core, group in groupby(iter_effects(reader), lambda change: change.core):
        seen = present(core)
        doubtful = False
        for change in group:
            there = None if seen is None else change.thing in seen
            found = finding_of(change.certainty, operation, there)
            at = seen.get(change.thing) if seen else None
            tally.findings[found] += 1
            tally.again += found is Finding.LEFT and at is not None and at > began
            doubtful = doubtful or found in {Finding.LEFT, Finding.UNSEEN}
            yield Checked(core, change.thing, found, at)
        if doubtful:
            tally.doubtful.append(core)


class Sight:
    """What snapshots show of cores, the latest one that lists a core counting. Use it as a block."""

    def __init__(self) -> None:
        self.begun_at: float | None = None
        """Seconds since 1970, UTC, of the first snapshot's beginning: nothing that is seen is older."""
        self._open = contextlib.ExitStack()
        self._latest: dict[str, tuple[Snapshot, CoreState]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, path: Path) -> None:
        """Look at another snapshot, newer than those before. Raises `SnapshotError`."""
        snapshot = self._open.enter_context(Snapshot(path))
        if self.begun_at is None:
            self.begun_at = snapshot.started_at
        for core in snapshot.cores():
            # What was seen once is not unseen again by a look that did not get there.
            if core.state in _SEEN or core.device.name not in self._latest:
                self._latest[core.device.name] = (snapshot, core.state)

    def present(self, core: str) -> Mapping[str, float | None] | None:
        """The things listed of `core`; none of one that has vanished; None when it could not be listed."""
        if core not in self._latest:
            return None
        snapshot, state = self._latest[core]
        if state is CoreState.VANISHED:
            return {}
        if state is not CoreState.DONE:
            return None
        return {found.thing: found.associated_at for found in snapshot.associations(core)}

    def states(self, cores: Iterable[str]) -> Counter[CoreState]:
        """How the listing of these cores stands."""
        return Counter(self._latest[core][1] if core in self._latest else CoreState.WAITING for core in cores)
