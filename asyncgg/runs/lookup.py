"""Looks up the associations of things or cores in a snapshot and builds the journal of a run."""

# AWS has no operation that returns the cores of a thing. Only a scan of the fleet shows them.

from __future__ import annotations

import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final, Literal, Self

from asyncgg.errors import GuardError, SnapshotError, UsageError
from asyncgg.formatting import format_count, format_duration
from asyncgg.inventory import MAX_SCAN_AGE, CoreState, Origin, Snapshot
from asyncgg.manifest import Chunk
from asyncgg.manifest.rows import printable
from asyncgg.models import invalid_name_reason
from asyncgg.runs.plan import LookupResult, MissingNames, MissingReason, Plan
from asyncgg.runs.prepare import JournalBuilder
from asyncgg.runs.provenance import ProvenanceKind, provenance_to_meta
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

_CHUNK_SIZE: Final = 5_000
_MAX_LISTED: Final = 10
"""Maximum names in a message or a plan."""

MISSING_LABELS: Final[Mapping[MissingReason, str]] = {
    MissingReason.NOT_FOUND: "on no core",
    MissingReason.UNKNOWN: "not found",
    MissingReason.EMPTY: "without client devices",
    MissingReason.INCOMPLETE: "not fully listed",
}
"""Labels for the text form. The first one is of things, the others are of cores."""

_NOT_LISTED: Final = frozenset({CoreState.DENIED, CoreState.FAILED})


@dataclass(frozen=True, slots=True)
class LookupTargets:
    """Things or cores of which every association is selected."""

    kind: Literal["thing", "core"]
    names: tuple[str, ...]
    """Distinct names."""
    source: str
    """Where the names come from, for messages."""
    header_rows: int = 0
    """Entries of the lists left out because they repeat the column name."""

    @property
    def cores_to_scan(self) -> tuple[str, ...] | None:
        """The cores that a scan for this lookup must list; None for all."""
        return self.names if self.kind == "core" else None

    @classmethod
    def from_names(
        cls, kind: Literal["thing", "core"], names: Iterable[str], source: str, *, header_rows: int = 0
    ) -> Self:
        """Validate the names, drop duplicates; raises `UsageError` for an invalid name."""
        distinct = tuple(dict.fromkeys(names))
        for name in distinct:
            if reason := invalid_name_reason(name):
                raise UsageError(f"invalid {kind} name `{printable(name[:200])}`: {reason}")
        return cls(kind, distinct, source, header_rows)


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """A lookup: the targets, the snapshot, and what is acceptable."""

    targets: LookupTargets
    inventory: Path
    max_age: float = MAX_SCAN_AGE
    """Maximum seconds since the scan of an existing snapshot started."""
    allow_incomplete: bool = False
    """Continue although some cores could not be listed."""


def origin_if_finished(inventory: Path) -> Origin | None:
    """The origin of the snapshot; None if it is missing or unfinished, so that a scan is necessary.

    Raises `SnapshotError` if the file is not a snapshot.
    """
    if not inventory.exists() or (inventory.is_file() and not inventory.stat().st_size):
        return None
    with Snapshot(inventory) as snapshot:
        return snapshot.origin if snapshot.finished else None


def prepare_from_snapshot(
    request: LookupRequest,
    journal: Path | None,
    settings: Settings,
    target: Endpoint | None,
    *,
    just_scanned: bool,
    account: str = "",
) -> tuple[JournalBuilder, Plan]:
    """Build the journal of all associations of the targets in the snapshot. Blocking.

    `just_scanned`: the snapshot is from a scan for this run. An existing one must be of the same
    fleet (`target`, and `account` if known) and recent enough.

    Raises:
        SnapshotError: the snapshot is unfinished, of another fleet, too old, or does not cover the
            targets.
        GuardError: cores could not be listed and that is not allowed; more things than
            `max_things`.
        UsageError: the protect list cannot be used.
        JournalError: the journal cannot be created.
    """
    targets = request.targets
    with Snapshot(request.inventory) as snapshot:
        snapshot.require_finished()
        if not just_scanned:
            _require_same_fleet(snapshot, target, account)
            _require_fresh(snapshot, request.max_age)
        coverage = _check_coverage(snapshot, targets)
        _require_complete(snapshot, targets, coverage, request.allow_incomplete, just_scanned)
        source = f"{targets.source}, found in {snapshot.path} taken {_format_minute(snapshot.started_at)}"
        kind = ProvenanceKind.LISTING if just_scanned else ProvenanceKind.INVENTORY
        extra_meta = {
            "lookup": targets.source.encode("utf-8", "backslashreplace").decode(),
            **provenance_to_meta(kind, request.inventory.absolute(), snapshot.started_at),
        }
        with JournalBuilder(journal, settings, source=source, extra_meta=extra_meta, allow_empty=True) as builder:
            builder.header_rows = targets.header_rows
            _add_associations(builder, snapshot, targets, coverage)
            builder.left_out = {
                f"{'things' if reason is MissingReason.NOT_FOUND else 'cores'} {MISSING_LABELS[reason]}": (
                    names.count,
                    names.examples,
                )
                for reason, names in coverage.missing().items()
            }
            plan = builder.finish(target)
        lookup = LookupResult(str(snapshot.path), snapshot.started_at, coverage.missing())
    return builder, replace(plan, source_label="source", lookup=lookup)


def prepare_without_targets(
    targets: LookupTargets, journal: Path | None, settings: Settings, target: Endpoint | None
) -> tuple[JournalBuilder, Plan]:
    """Build the journal of 0 things for an empty list. Raises `UsageError` unless `allow_empty`."""
    builder = JournalBuilder(journal, settings, source=targets.source)
    builder.header_rows = targets.header_rows
    return builder, replace(builder.finish(target), source_label="source")


def _add_associations(
    builder: JournalBuilder, snapshot: Snapshot, targets: LookupTargets, coverage: _CoverageReport
) -> None:
    """Add the associations of the targets, and report missing things."""
    unmatched = dict.fromkeys(targets.names) if targets.kind == "thing" else {}
    query = snapshot.pairs_of_things if targets.kind == "thing" else snapshot.pairs_of_cores
    with closing((record.core, record.thing) for record in query(targets.names)) as pairs:
        while good := list(islice(pairs, _CHUNK_SIZE)):
            builder.add(Chunk(good=good))
            for _, thing in good if unmatched else ():
                unmatched.pop(thing, None)
    for thing in unmatched:
        coverage.add(MissingReason.NOT_FOUND, thing)


# --- coverage of the snapshot ---


@dataclass(slots=True)
class _CoverageReport:
    """The targets without associations, and the cores that could not be listed."""

    counts: Counter[MissingReason] = field(default_factory=Counter)
    examples: defaultdict[MissingReason, list[str]] = field(default_factory=lambda: defaultdict(list))
    error_codes: set[str] = field(default_factory=set)
    """Why cores could not be listed."""
    unknown_cores: int = 0
    """Cores that are not in the snapshot. Part of UNKNOWN."""

    def add(self, reason: MissingReason, name: str) -> None:
        self.counts[reason] += 1
        if self.counts[reason] <= _MAX_LISTED:
            self.examples[reason].append(name)

    def missing(self) -> dict[MissingReason, MissingNames]:
        return {
            reason: MissingNames(self.counts[reason], tuple(self.examples[reason]))
            for reason in MissingReason
            if self.counts[reason]
        }


def _check_coverage(snapshot: Snapshot, targets: LookupTargets) -> _CoverageReport:
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


def _require_complete(
    snapshot: Snapshot, targets: LookupTargets, coverage: _CoverageReport, allow_incomplete: bool, just_scanned: bool
) -> None:
    """Raise if the snapshot does not cover all targets: a device not observed can exist."""
    if (note := snapshot.coverage_note) and (targets.kind == "thing" or coverage.unknown_cores):
        problem = (
            "the things may also be on other cores"
            if targets.kind == "thing"
            else f"not {coverage.missing()[MissingReason.UNKNOWN]}"
        )
        raise SnapshotError(f"{snapshot.path} lists {note}, {problem}; {_rescan_hint(snapshot)}")
    if (count := coverage.counts[MissingReason.INCOMPLETE]) and not allow_incomplete:
        codes = f" ({', '.join(sorted(coverage.error_codes))})" if coverage.error_codes else ""
        hint = "run the command again" if just_scanned else _rescan_hint(snapshot)
        raise GuardError(
            f"{format_count(count, 'core')} could not be listed{codes}:"
            f" {coverage.missing()[MissingReason.INCOMPLETE]}; {hint},"
            " or continue without a complete list: --allow-incomplete"
        )


# --- origin and age of the snapshot ---


def _require_same_fleet(snapshot: Snapshot, target: Endpoint | None, account: str) -> None:
    expected = {"account": account}
    if target is not None:
        expected |= {"region": target.region, "endpoint": target.url}
    for name, expected_value in expected.items():
        snapshot_value = getattr(snapshot.origin, name)
        if snapshot_value and expected_value and snapshot_value != expected_value:
            raise SnapshotError(
                f"{snapshot.path} is of {name} {snapshot_value}, but this run uses {expected_value};"
                f" give a snapshot of the same fleet, or {_rescan_hint(snapshot)}"
            )


def _require_fresh(snapshot: Snapshot, max_age: float) -> None:
    age = time.time() - snapshot.started_at
    if age > max_age:
        raise SnapshotError(
            f"{snapshot.path} was started {_format_minute(snapshot.started_at)}, {format_duration(age)} ago;"
            f" --max-age allows {format_duration(max_age)}; {_rescan_hint(snapshot)}"
        )


def _rescan_hint(snapshot: Snapshot) -> str:
    return f"scan again: asyncgg inventory --out {shlex.quote(str(snapshot.path))} --replace"


def _format_minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
