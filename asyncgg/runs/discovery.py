"""Rule: what things or cores alone stand for is looked up in a snapshot here, and made into a journal; nothing is sent.

AWS has no look-up from a thing to its cores, so a sweep answers it. Whether a snapshot may answer (it is of this
fleet, young enough, and sees what is asked for) is decided here too: what is not seen is never taken for not there.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final, Literal, Self

from asyncgg.errors import GuardError, SnapshotError, UsageError
from asyncgg.inventory import MAX_SCAN_AGE, AssociationRecord, CoreState, Origin, Snapshot
from asyncgg.manifest import Chunk, load_protect
from asyncgg.manifest.rows import shown
from asyncgg.model import invalid_name_reason
from asyncgg.report.summary import format_duration
from asyncgg.runs.evidence import EvidenceKind, evidence_fact
from asyncgg.runs.plan import Absence, Absent, Lookup, Plan
from asyncgg.runs.prepare import Preparation
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["WORDS", "Search", "Wanted", "finished_origin", "prepare_found"]

_CHUNK: Final = 5_000
_SHOWN: Final = 10
"""Names that a message or a plan tells."""
_OTHERS: Final = "and the things may be on others as well"
WORDS: Final[Mapping[Absence, str]] = {
    Absence.NOWHERE: "on no core",
    Absence.UNKNOWN: "not there",
    Absence.EMPTY: "without client devices",
    Absence.UNLISTED: "not listed, or only in part",
}
"""How a person is told of names that stand for nothing; the first is of things, the others are of cores."""

_NOT_LISTED: Final = frozenset({CoreState.DENIED, CoreState.FAILED})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Every association of some things, or of some cores."""

    kind: Literal["thing", "core"]
    names: tuple[str, ...]
    """Each once."""
    source: str
    """Where the names are from, for a person."""

    @classmethod
    def of(cls, kind: Literal["thing", "core"], names: Iterable[str], source: str) -> Self:
        """The same from names as they come. Raises `UsageError` for what is no name, and when there is none."""
        distinct = tuple(dict.fromkeys(names))
        for name in distinct:
            if fault := invalid_name_reason(name):
                raise UsageError(f"`{shown(name[:200])}` is no {kind}'s name: it {fault}")
        if not distinct:
            raise UsageError(f"{source}: there are no names")
        return cls(kind, distinct, source)


@dataclass(frozen=True, slots=True)
class Search:
    """What is to be found, in which snapshot, and what may be wrong with that."""

    wanted: Wanted
    inventory: Path
    max_age: float = MAX_SCAN_AGE
    """Seconds since a snapshot that was there already was begun."""
    allow_unlisted: bool = False
    """Go on though some cores were denied or failed in the sweep."""


def finished_origin(inventory: Path) -> Origin | None:
    """Whose fleet the snapshot is of; None when it is not there or not finished: then it must be swept first.

    Raises `SnapshotError` when the file is none.
    """
    if not inventory.exists() or (inventory.is_file() and not inventory.stat().st_size):
        return None
    with Snapshot(inventory) as snapshot:
        return snapshot.origin if snapshot.finished else None


def prepare_found(
    search: Search, into: Path, settings: Settings, target: Endpoint | None, *, swept: bool, account: str = ""
) -> tuple[Preparation, Plan]:
    """Make the journal `into` of all that the snapshot holds of what is wanted. Blocking.

    `swept`: the snapshot was taken for this very run; one that was there already must be of the same fleet
    (`target`, and `account` when it is known) and young enough.

    Raises:
        SnapshotError: it is not finished, of another fleet, too old, or does not see what is asked for.
        GuardError: cores could not be listed and nobody allowed that; more things than `max_things`.
        UsageError: nothing is found, or the protect list cannot be used.
        JournalError: the journal cannot be made.
    """
    wanted = search.wanted
    protect = load_protect(str(settings.protect)) if settings.protect else None
    with Snapshot(search.inventory) as snapshot:
        snapshot.require_finished()
        if not swept:
            _refuse_others(snapshot, target, account)
            _refuse_old(snapshot, search.max_age)
        survey = _surveyed(snapshot, wanted)
        survey.refuse(snapshot, wanted, allow_unlisted=search.allow_unlisted, swept=swept)
        source = f"{wanted.source}, found in {snapshot.path} taken {_minute(snapshot.started_at)}"
        kind = EvidenceKind.LISTING if swept else EvidenceKind.INVENTORY
        facts = evidence_fact(kind, search.inventory.absolute(), snapshot.started_at)
        preparation = Preparation(into, settings, source=source, protect=protect, facts=facts)
        try:
            # Whatever of them is not met is on no core; cores have been surveyed already.
            left = dict.fromkeys(wanted.names) if wanted.kind == "thing" else {}
            number = 0
            with closing(_pairs(snapshot, wanted)) as found:
                for chunk in _chunks(found):
                    preparation.add(chunk)
                    number += len(chunk.good)
                    for _, thing in chunk.good if left else ():
                        left.pop(thing, None)
            for thing in left:
                survey.note(Absence.NOWHERE, thing)
            if not number:
                raise UsageError(f"{source}: there is nothing to do: {survey.words()}")
            plan = preparation.finish(target)
        except BaseException:
            preparation.discard()
            raise
        lookup = Lookup(str(snapshot.path), snapshot.started_at, survey.absent())
    return preparation, replace(plan, origin="source", lookup=lookup)


# --- what the snapshot holds ---


@dataclass(slots=True)
class _Survey:
    """What of the names, and of the fleet, cannot be found."""

    counts: dict[Absence, int] = field(default_factory=dict)
    first: dict[Absence, list[str]] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)
    """Why cores were not listed."""
    strangers: int = 0
    """Cores the snapshot never heard of; they are UNKNOWN too."""

    def note(self, absence: Absence, name: str) -> None:
        self.counts[absence] = self.counts.get(absence, 0) + 1
        first = self.first.setdefault(absence, [])
        if len(first) < _SHOWN:
            first.append(name)

    def absent(self) -> dict[Absence, Absent]:
        return {one: Absent(self.counts[one], tuple(self.first[one])) for one in Absence if one in self.counts}

    def words(self) -> str:
        """All of it in one line."""
        return "; ".join(
            f"{self.counts[one]:,} {WORDS[one]}: {self.told(one)}" for one in Absence if one in self.counts
        )

    def told(self, absence: Absence) -> str:
        more = self.counts[absence] - len(self.first[absence])
        return ", ".join(self.first[absence]) + (f" and {more:,} more" if more else "")

    def refuse(self, snapshot: Snapshot, wanted: Wanted, *, allow_unlisted: bool, swept: bool) -> None:
        """Raise when the snapshot does not see everything that is asked for."""
        partial = snapshot.coverage_note
        if partial and wanted.kind == "thing":
            raise SnapshotError(f"snapshot {snapshot.path}: it holds {partial}, {_OTHERS}; {_anew(snapshot)}")
        if partial and self.strangers:
            raise SnapshotError(
                f"snapshot {snapshot.path}: it holds {partial}, not {self.told(Absence.UNKNOWN)}; {_anew(snapshot)}"
            )
        if Absence.UNLISTED in self.counts and not allow_unlisted:
            count = self.counts[Absence.UNLISTED]
            why = f" ({', '.join(sorted(self.codes))})" if self.codes else ""
            again = "run it again" if swept else _anew(snapshot)
            raise GuardError(
                f"{count:,} {'core' if count == 1 else 'cores'} could not be listed{why}, so what they hold is not"
                f" known: {self.told(Absence.UNLISTED)}; {again}, or go on without that: --allow-unlisted"
            )


def _surveyed(snapshot: Snapshot, wanted: Wanted) -> _Survey:
    """One look at every core of the snapshot."""
    survey = _Survey()
    left = dict.fromkeys(wanted.names) if wanted.kind == "core" else {}
    for core in snapshot.cores():
        name = core.device.name
        if wanted.kind == "core":
            if name not in left:
                continue
            del left[name]
        if core.state in _NOT_LISTED:
            survey.note(Absence.UNLISTED, name)
            survey.codes.update({core.code} - {""})
        elif wanted.kind == "core" and core.state is CoreState.VANISHED:
            survey.note(Absence.UNKNOWN, name)
        elif wanted.kind == "core" and not core.things:
            survey.note(Absence.EMPTY, name)
    survey.strangers = len(left)
    for name in left:
        survey.note(Absence.UNKNOWN, name)
    return survey


def _pairs(snapshot: Snapshot, wanted: Wanted) -> Generator[AssociationRecord, None, None]:
    """Every association of what is wanted, core by core; to be closed before the snapshot is."""
    ask = snapshot.pairs_of_things if wanted.kind == "thing" else snapshot.pairs_of_cores
    yield from ask(wanted.names)


def _chunks(found: Iterator[AssociationRecord]) -> Iterator[Chunk]:
    while good := [(pair.core, pair.thing) for pair in islice(found, _CHUNK)]:
        yield Chunk(good=good)


# --- whether it may speak ---


def _refuse_others(snapshot: Snapshot, target: Endpoint | None, account: str) -> None:
    ours = {"account": account}
    if target is not None:
        ours |= {"region": target.region, "endpoint": target.url}
    for name, here in ours.items():
        there = getattr(snapshot.origin, name)
        if there and here and there != here:
            raise SnapshotError(
                f"snapshot {snapshot.path}: it is of {name} {there}, this run goes to {here}; give one of the same"
                f" fleet, or {_anew(snapshot)}"
            )


def _refuse_old(snapshot: Snapshot, max_age: float) -> None:
    age = time.time() - snapshot.started_at
    if age > max_age:
        raise SnapshotError(
            f"snapshot {snapshot.path}: it was begun {_minute(snapshot.started_at)}, {format_duration(age)} ago, --max-age"
            f" allows {format_duration(max_age)}; {_anew(snapshot)}"
        )


def _anew(snapshot: Snapshot) -> str:
    return f"sweep anew: asyncgg inventory --out {shlex.quote(str(snapshot.path))} --replace"


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
