"""Rule: what appeared and what vanished between two snapshots is found here, by SQL over both files; nothing is held.

Only what both sweeps know is compared: of a core that was denied or failed in one of them nobody can tell what it had,
so its associations are neither new nor gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from asyncgg.inventory import schema
from asyncgg.inventory.models import AssociationRecord, CoreState
from asyncgg.inventory.snapshot import Snapshot

__all__ = ["DiffCounts", "SnapshotDiff", "incompatibilities"]

_DONE, _VANISHED = int(CoreState.DONE), int(CoreState.VANISHED)
_INCOMPLETE_STATES: Final = f"({int(CoreState.WAITING)}, {int(CoreState.DENIED)}, {int(CoreState.FAILED)})"

# `here` has it and `there` has not: for what appeared here is the new one, for what vanished the old one.
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
    """How much is different."""

    cores_appeared: int
    cores_vanished: int
    appeared: int
    """Associations, those of cores that appeared among them."""
    vanished: int
    not_compared: int
    """Cores that were not listed to their end in one of the two."""


def incompatibilities(old: Snapshot, new: Snapshot) -> list[str]:
    """Why the two are no two looks at the same fleet, as sentences; empty when they are."""
    reasons = []
    for name in ("account", "region", "endpoint"):
        before, now = getattr(old.origin, name), getattr(new.origin, name)
        if before != now and not (name == "account" and not (before and now)):
            reasons.append(f"{name}: {before or '(unknown)'} in the old one, {now or '(unknown)'} in the new one")
    if old.filters != new.filters:
        reasons.append("they were taken with different filters")
    if old.lists_named_cores_only or new.lists_named_cores_only:
        reasons.append("not all cores were listed, but named ones")
    return reasons


class SnapshotDiff:
    """The difference of two finished snapshots. Raises `SnapshotError` when one is none, or is not finished."""

    def __init__(self, old: Path, new: Path) -> None:
        for path in (old, new):
            with Snapshot(path) as snapshot:
                snapshot.require_finished()
        self._path = new
        self._connection = schema.open_existing(new, "ro")
        try:
            self._connection.execute("PRAGMA temp_store = FILE")
            self._connection.execute("ATTACH ? AS old", (f"{old.absolute().as_uri()}?mode=ro",))
        except sqlite3.Error as error:
            self._connection.close()
            raise schema.translate_error(error, old) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._connection.close()

    def counts(self) -> DiffCounts:
        """How much is different."""
        queries = (
            _query(_CORES, "main", "old"),
            _query(_CORES, "old", "main"),
            _query(_ASSOCIATIONS, "main", "old"),
            _query(_ASSOCIATIONS, "old", "main"),
            _NOT_COMPARED.format(unknown=_INCOMPLETE_STATES),
        )
        return DiffCounts(*(next(iter(self._rows(f"SELECT count(*) FROM ({query})")))[0] for query in queries))  # noqa: S608 - ours

    def cores_appeared(self) -> Generator[str, None, None]:
        """Cores that only the new one has, in its order."""
        yield from self._names(_query(_CORES, "main", "old") + " ORDER BY here.id")

    def cores_vanished(self) -> Generator[str, None, None]:
        """Cores that only the old one has, in its order."""
        yield from self._names(_query(_CORES, "old", "main") + " ORDER BY here.id")

    def appeared(self) -> Generator[AssociationRecord, None, None]:
        """Associations that only the new one has, core by core."""
        yield from self._iter_associations("main", "old")

    def vanished(self) -> Generator[AssociationRecord, None, None]:
        """Associations that only the old one has, core by core."""
        yield from self._iter_associations("old", "main")

    def not_compared(self) -> Generator[str, None, None]:
        """Cores of which one of the two does not know all."""
        yield from self._names(_NOT_COMPARED.format(unknown=_INCOMPLETE_STATES) + " ORDER BY name")

    def _iter_associations(self, here: str, there: str) -> Generator[AssociationRecord, None, None]:
        with closing(self._rows(_query(_ASSOCIATIONS, here, there) + " ORDER BY here.id, a.thing")) as rows:
            for row in rows:
                yield AssociationRecord(*row)

    def _names(self, query: str) -> Generator[str, None, None]:
        with closing(self._rows(query)) as rows:
            for (name,) in rows:
                yield name

    def _rows(self, query: str) -> Generator[Any, None, None]:
        try:
            with closing(self._connection.execute(query)) as cursor:
                while rows := cursor.fetchmany(1000):
                    yield from rows
        except (sqlite3.Error, ValueError) as error:
            raise schema.translate_error(error, self._path) from None


def _query(query: str, here: str, there: str) -> str:
    return query.format(here=here, there=there, done=_DONE, vanished=_VANISHED, unknown=_INCOMPLETE_STATES)
