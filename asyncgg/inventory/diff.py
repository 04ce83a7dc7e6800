"""Compare two snapshots: what appeared and what vanished, by SQL over both files, streamed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncgg.inventory.models import AssociationRecord, CoreState
from asyncgg.inventory.schema import FORMAT
from asyncgg.inventory.snapshot import Snapshot
from asyncgg.storage import SqliteReader

_DONE, _VANISHED = int(CoreState.DONE), int(CoreState.VANISHED)
_INCOMPLETE_STATES: Final = f"({int(CoreState.WAITING)}, {int(CoreState.DENIED)}, {int(CoreState.FAILED)})"

# What is in `here` and not in `there`: `here` is the new snapshot for what appeared, the old one
# for what vanished. The associations of a core that was denied or failed in one of them are
# unknown, so they are neither new nor vanished.
_CORES: Final = """
SELECT here.name FROM {here}.core AS here LEFT JOIN {there}.core AS there ON there.name = here.name
WHERE here.state != {vanished} AND (there.id IS NULL OR there.state = {vanished})"""
_ASSOCIATIONS: Final = """
SELECT here.name, a.thing, a.associated_at FROM {here}.core AS here
LEFT JOIN {there}.core AS there ON there.name = here.name
JOIN {here}.association AS a ON a.core = here.id
WHERE here.state = {done} AND (there.id IS NULL OR there.state NOT IN {unknown})
AND NOT EXISTS (SELECT 1 FROM {there}.association AS b WHERE b.core = there.id AND b.thing = a.thing)"""
_NOT_COMPARED: Final = """
SELECT name FROM old.core WHERE state IN {unknown} UNION SELECT name FROM main.core WHERE state IN {unknown}"""


@dataclass(frozen=True, slots=True)
class DiffCounts:
    """The counts of a comparison."""

    cores_appeared: int
    cores_vanished: int
    appeared: int
    """Associations, including those of new cores."""
    vanished: int
    not_compared: int
    """Cores that one of the scans could not list."""


def incompatibilities(old: Snapshot, new: Snapshot) -> list[str]:
    """Why the snapshots do not cover the same fleet, as phrases; empty when they do."""
    reasons = []
    for name in ("account", "region", "endpoint"):
        before, now = getattr(old.origin, name), getattr(new.origin, name)
        if before != now and not (name == "account" and not (before and now)):
            reasons.append(f"different {name}s: {before or '(unknown)'} (old), {now or '(unknown)'} (new)")
    if old.filters != new.filters:
        reasons.append("different filters")
    if old.lists_named_cores_only or new.lists_named_cores_only:
        reasons.append("only named cores were listed")
    return reasons


class SnapshotDiff(SqliteReader):
    """A comparison of two snapshots. Raises `SnapshotError` when one is unfinished or unusable."""

    def __init__(self, old: Path, new: Path) -> None:
        for path in (old, new):
            with Snapshot(path) as snapshot:
                snapshot.require_finished()
        self._old = old
        super().__init__(FORMAT, new)

    def _prepare(self) -> None:
        with FORMAT.translate_errors(self._old):
            self._connection.execute("PRAGMA temp_store = FILE")
            self._connection.execute("ATTACH ? AS old", (f"{self._old.absolute().as_uri()}?mode=ro",))

    def counts(self) -> DiffCounts:
        """The counts of the comparison."""
        queries = (
            _query(_CORES, "main", "old"),
            _query(_CORES, "old", "main"),
            _query(_ASSOCIATIONS, "main", "old"),
            _query(_ASSOCIATIONS, "old", "main"),
            _NOT_COMPARED.format(unknown=_INCOMPLETE_STATES),
        )
        return DiffCounts(*(next(iter(self._rows(f"SELECT count(*) FROM ({query})")))[0] for query in queries))  # noqa: S608 - constants

    def cores_appeared(self) -> Generator[str, None, None]:
        """Cores of only the new snapshot, in its order."""
        yield from self._names(_query(_CORES, "main", "old") + " ORDER BY here.id")

    def cores_vanished(self) -> Generator[str, None, None]:
        """Cores of only the old snapshot, in its order."""
        yield from self._names(_query(_CORES, "old", "main") + " ORDER BY here.id")

    def appeared(self) -> Generator[AssociationRecord, None, None]:
        """Associations of only the new snapshot, by core."""
        yield from self._iter_associations("main", "old")

    def vanished(self) -> Generator[AssociationRecord, None, None]:
        """Associations of only the old snapshot, by core."""
        yield from self._iter_associations("old", "main")

    def not_compared(self) -> Generator[str, None, None]:
        """Cores that one of the scans could not list."""
        yield from self._names(_NOT_COMPARED.format(unknown=_INCOMPLETE_STATES) + " ORDER BY name")

    def _iter_associations(self, here: str, there: str) -> Generator[AssociationRecord, None, None]:
        rows = self._rows(_query(_ASSOCIATIONS, here, there) + " ORDER BY here.id, a.thing")
        yield from map(AssociationRecord._make, rows)

    def _names(self, query: str) -> Generator[str, None, None]:
        yield from (name for (name,) in self._rows(query))


def _query(query: str, here: str, there: str) -> str:
    return query.format(here=here, there=there, done=_DONE, vanished=_VANISHED, unknown=_INCOMPLETE_STATES)
