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
from asyncgg.formatting import format_duration
from asyncgg.inventory import MAX_SCAN_AGE, AssociationRecord, CoreState, Origin, Snapshot
from asyncgg.manifest import Chunk, load_protect_list
from asyncgg.manifest.rows import printable
from asyncgg.models import invalid_name_reason
from asyncgg.runs.plan import LookupResult, MissingNames, MissingReason, Plan
from asyncgg.runs.prepare import JournalBuilder
from asyncgg.runs.provenance import ProvenanceKind, provenance_to_meta
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["MISSING_LABELS", "LookupRequest", "LookupTargets", "origin_if_finished", "prepare_from_snapshot"]

_CHUNK_SIZE: Final = 5_000
_MAX_LISTED: Final = 10
"""Names that a message or a plan tells."""
_MAY_BE_ON_OTHER_CORES: Final = "and the things may be on others as well"
MISSING_LABELS: Final[Mapping[MissingReason, str]] = {
    MissingReason.NOT_FOUND: "on no core",
    MissingReason.UNKNOWN: "not there",
    MissingReason.EMPTY: "without client devices",
    MissingReason.INCOMPLETE: "not listed, or only in part",
}
"""How a person is told of names that stand for nothing; the first is of things, the others are of cores."""

_NOT_LISTED: Final = frozenset({CoreState.DENIED, CoreState.FAILED})


@dataclass(frozen=True, slots=True)
class LookupTargets:
    """Every association of some things, or of some cores."""

    kind: Literal["thing", "core"]
    names: tuple[str, ...]
    """Each once."""
    source: str
    """Where the names are from, for a person."""

    @classmethod
    def from_names(cls, kind: Literal["thing", "core"], names: Iterable[str], source: str) -> Self:
        """The same from names as they come. Raises `UsageError` for what is no name, and when there is none."""
        distinct = tuple(dict.fromkeys(names))
        for name in distinct:
            if reason := invalid_name_reason(name):
                raise UsageError(f"`{printable(name[:200])}` is no {kind}'s name: it {reason}")
        if not distinct:
            raise UsageError(f"{source}: there are no names")
        return cls(kind, distinct, source)


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """What is to be found, in which snapshot, and what may be wrong with that."""

    targets: LookupTargets
    inventory: Path
    max_age: float = MAX_SCAN_AGE
    """Seconds since a snapshot that was there already was begun."""
    allow_incomplete: bool = False
    """Go on though some cores were denied or failed in the sweep."""


def origin_if_finished(inventory: Path) -> Origin | None:
    """Whose fleet the snapshot is of; None when it is not there or not finished: then it must be swept first.

    Raises `SnapshotError` when the file is none.
    """
    if not inventory.exists() or (inventory.is_file() and not inventory.stat().st_size):
        return None
    with Snapshot(inventory) as snapshot:
        return snapshot.origin if snapshot.finished else None


def prepare_from_snapshot(
    request: LookupRequest,
    journal: Path,
    settings: Settings,
    target: Endpoint | None,
    *,
    just_scanned: bool,
    account: str = "",
) -> tuple[JournalBuilder, Plan]:
    """Make the journal `into` of all that the snapshot holds of what is wanted. Blocking.

    `swept`: the snapshot was taken for this very run; one that was there already must be of the same fleet
    (`target`, and `account` when it is known) and young enough.

    Raises:
        SnapshotError: it is not finished, of another fleet, too old, or does not see what is asked for.
        GuardError: cores could not be listed and nobody allowed that; more things than `max_things`.
        UsageError: nothing is found, or the protect list cannot be used.
        JournalError: the journal cannot be made.
    """
    targets = request.targets
    protect = load_protect_list(str(settings.protect)) if settings.protect else None
    with Snapshot(request.inventory) as snapshot:
        snapshot.require_finished()
        if not just_scanned:
            _require_same_fleet(snapshot, target, account)
            _require_fresh(snapshot, request.max_age)
        coverage = _check_coverage(snapshot, targets)
        coverage.require_complete(
            snapshot, targets, allow_incomplete=request.allow_incomplete, just_scanned=just_scanned
        )
        source = f"{targets.source}, found in {snapshot.path} taken {_format_minute(snapshot.started_at)}"
        kind = ProvenanceKind.LISTING if just_scanned else ProvenanceKind.INVENTORY
        extra_meta = provenance_to_meta(kind, request.inventory.absolute(), snapshot.started_at)
        builder = JournalBuilder(journal, settings, source=source, protect=protect, extra_meta=extra_meta)
        try:
            # Whatever of them is not met is on no core; cores have been surveyed already.
            unmatched = dict.fromkeys(targets.names) if targets.kind == "thing" else {}
            count = 0
            with closing(_associations(snapshot, targets)) as records:
                for chunk in _chunks(records):
                    builder.add(chunk)
                    count += len(chunk.good)
                    for _, thing in chunk.good if unmatched else ():
                        unmatched.pop(thing, None)
            for thing in unmatched:
                coverage.add(MissingReason.NOT_FOUND, thing)
            if not count:
                raise UsageError(f"{source}: there is nothing to do: {coverage.summary()}")
            plan = builder.finish(target)
        except BaseException:
            builder.discard()
            raise
        lookup = LookupResult(str(snapshot.path), snapshot.started_at, coverage.missing())
    return builder, replace(plan, source_label="source", lookup=lookup)


# --- what the snapshot holds ---


@dataclass(slots=True)
class _CoverageReport:
    """What of the names, and of the fleet, cannot be found."""

    counts: dict[MissingReason, int] = field(default_factory=dict)
    examples: dict[MissingReason, list[str]] = field(default_factory=dict)
    error_codes: set[str] = field(default_factory=set)
    """Why cores were not listed."""
    unknown_cores: int = 0
    """Cores the snapshot never heard of; they are UNKNOWN too."""

    def add(self, reason: MissingReason, name: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _MAX_LISTED:
            examples.append(name)

    def missing(self) -> dict[MissingReason, MissingNames]:
        return {
            reason: MissingNames(self.counts[reason], tuple(self.examples[reason]))
            for reason in MissingReason
            if reason in self.counts
        }

    def summary(self) -> str:
        """All of it in one line."""
        return "; ".join(
            f"{self.counts[reason]:,} {MISSING_LABELS[reason]}: {self.format_names(reason)}"
            for reason in MissingReason
            if reason in self.counts
        )

    def format_names(self, reason: MissingReason) -> str:
        omitted = self.counts[reason] - len(self.examples[reason])
        return ", ".join(self.examples[reason]) + (f" and {omitted:,} more" if omitted else "")

    def require_complete(
        self, snapshot: Snapshot, targets: LookupTargets, *, allow_incomplete: bool, just_scanned: bool
    ) -> None:
        """Raise when the snapshot does not see everything that is asked for."""
        coverage_note = snapshot.coverage_note
        if coverage_note and targets.kind == "thing":
            raise SnapshotError(
                f"snapshot {snapshot.path}: it holds {coverage_note}, {_MAY_BE_ON_OTHER_CORES}; {_rescan_hint(snapshot)}"
            )
        if coverage_note and self.unknown_cores:
            raise SnapshotError(
                f"snapshot {snapshot.path}: it holds {coverage_note}, not {self.format_names(MissingReason.UNKNOWN)}; {_rescan_hint(snapshot)}"
            )
        if MissingReason.INCOMPLETE in self.counts and not allow_incomplete:
            count = self.counts[MissingReason.INCOMPLETE]
            codes = f" ({', '.join(sorted(self.error_codes))})" if self.error_codes else ""
            rerun_hint = "run it again" if just_scanned else _rescan_hint(snapshot)
            raise GuardError(
                f"{count:,} {'core' if count == 1 else 'cores'} could not be listed{codes}, so what they hold is not"
                f" known: {self.format_names(MissingReason.INCOMPLETE)}; {rerun_hint}, or go on without that: --allow-unlisted"
            )


def _check_coverage(snapshot: Snapshot, targets: LookupTargets) -> _CoverageReport:
    """One look at every core of the snapshot."""
    coverage = _CoverageReport()
    unmatched = dict.fromkeys(targets.names) if targets.kind == "core" else {}
    for core in snapshot.cores():
        name = core.device.name
        if targets.kind == "core":
            if name not in unmatched:
                continue
            del unmatched[name]
        if core.state in _NOT_LISTED:
            coverage.add(MissingReason.INCOMPLETE, name)
            coverage.error_codes.update({core.code} - {""})
        elif targets.kind == "core" and core.state is CoreState.VANISHED:
            coverage.add(MissingReason.UNKNOWN, name)
        elif targets.kind == "core" and not core.things:
            coverage.add(MissingReason.EMPTY, name)
    coverage.unknown_cores = len(unmatched)
    for name in unmatched:
        coverage.add(MissingReason.UNKNOWN, name)
    return coverage


def _associations(snapshot: Snapshot, targets: LookupTargets) -> Generator[AssociationRecord, None, None]:
    """Every association of what is wanted, core by core; to be closed before the snapshot is."""
    query = snapshot.pairs_of_things if targets.kind == "thing" else snapshot.pairs_of_cores
    yield from query(targets.names)


def _chunks(records: Iterator[AssociationRecord]) -> Iterator[Chunk]:
    while good := [(record.core, record.thing) for record in islice(records, _CHUNK_SIZE)]:
        yield Chunk(good=good)


# --- whether it may speak ---


def _require_same_fleet(snapshot: Snapshot, target: Endpoint | None, account: str) -> None:
    expected = {"account": account}
    if target is not None:
        expected |= {"region": target.region, "endpoint": target.url}
    for name, expected_value in expected.items():
        snapshot_value = getattr(snapshot.origin, name)
        if snapshot_value and expected_value and snapshot_value != expected_value:
            raise SnapshotError(
                f"snapshot {snapshot.path}: it is of {name} {snapshot_value}, this run goes to {expected_value}; give one of the same"
                f" fleet, or {_rescan_hint(snapshot)}"
            )


def _require_fresh(snapshot: Snapshot, max_age: float) -> None:
    age = time.time() - snapshot.started_at
    if age > max_age:
        raise SnapshotError(
            f"snapshot {snapshot.path}: it was begun {_format_minute(snapshot.started_at)}, {format_duration(age)} ago, --max-age"
            f" allows {format_duration(max_age)}; {_rescan_hint(snapshot)}"
        )


def _rescan_hint(snapshot: Snapshot) -> str:
    return f"sweep anew: asyncgg inventory --out {shlex.quote(str(snapshot.path))} --replace"


def _format_minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
