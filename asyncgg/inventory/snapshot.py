"""Rule: reading a snapshot, and every question about what is in it; nothing here writes, and nothing is held in memory.

Names that are asked for go into a temporary table: thousands are one join over an index.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from asyncgg.errors import SnapshotError
from asyncgg.inventory import schema
from asyncgg.inventory.models import AssociationRecord, CoreState, Origin, ScannedCore, SnapshotCounts
from asyncgg.inventory.store import snapshot_counts
from asyncgg.models import CoreDevice
from asyncgg.transport.base import CoreFilter

__all__ = ["Snapshot"]

_SELECT_ASSOCIATIONS = "SELECT core.name, association.thing, association.associated_at FROM"


class Snapshot:
    """A snapshot opened for reading, at any time, also while it is being swept into. For one thread at a time.

    Raises `SnapshotError` when it is none; every question does when the file turns out to be damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection = schema.open_existing(self.path, "ro")
        try:
            self._connection.execute("PRAGMA temp_store = FILE")
            self._meta: dict[str, str] = dict(self._rows("SELECT key, value FROM meta"))
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- what it is ---

    @property
    def finished(self) -> bool:
        """Whether the sweep came to its end; before that it holds a part of the fleet."""
        return self._meta.get("finished") == "1"

    @property
    def started_at(self) -> float:
        """Seconds since 1970, UTC, of the sweep's first start: what is in it may be as old as this."""
        with self._translate_errors():
            return float(self._meta.get("started_at") or 0)

    @property
    def ended_at(self) -> float | None:
        """Seconds since 1970, UTC; None when it is not finished."""
        with self._translate_errors():
            return float(self._meta["ended_at"]) if "ended_at" in self._meta else None

    @property
    def origin(self) -> Origin:
        """Whose fleet it is."""
        return Origin(*(self._meta.get(key, "") for key in ("account", "region", "endpoint")))

    @property
    def filters(self) -> CoreFilter:
        """Which core devices were asked for."""
        with self._translate_errors():
            return CoreFilter(**json.loads(self._meta.get("filters") or "{}"))

    @property
    def lists_named_cores_only(self) -> bool:
        """Whether only cores that were named were listed, and not those the service tells."""
        return bool(self._meta.get("cores_digest"))

    @property
    def coverage_note(self) -> str:
        """Which cores it holds when these are not all of the Region, for a person; empty when they are."""
        if self.lists_named_cores_only:
            return "only cores that were named"
        return "" if self.filters == CoreFilter() else "only cores that its filters left"

    def require_finished(self) -> None:
        """Raise `SnapshotError` unless it is."""
        if not self.finished:
            raise SnapshotError(
                f"snapshot {self.path}: its sweep is not finished; go on with it: asyncgg inventory --out {self.path}"
            )

    def counts(self) -> SnapshotCounts:
        """What it holds."""
        with self._translate_errors():
            return snapshot_counts(self._connection)

    @property
    def failed_share(self) -> float:
        """As `Swept.failed_share`."""
        counts = self.counts()
        return (counts.denied + counts.failed) / max(counts.cores, 1) if self.finished else 1.0

    # --- what is in it ---

    def cores(self) -> Iterator[ScannedCore]:
        """Every core, in the order the service told them."""
        for name, status, last, platform, architecture, runtime, state, things, pages, code, message in self._rows(
            "SELECT name, status, last_status_at, platform, architecture, runtime, state, things, pages, code, message"
            " FROM core ORDER BY id"
        ):
            device = CoreDevice(name, status, last, platform, architecture, runtime)
            yield ScannedCore(device, CoreState(state), things, pages, code, message)

    def associations(self, core: str | None = None) -> Iterator[AssociationRecord]:
        """Every association, or those of one core; core by core, each core's things by name."""
        where_clause, values = ("", ()) if core is None else ("WHERE core.name = ?", (core,))
        query = f"{_SELECT_ASSOCIATIONS} core JOIN association ON association.core = core.id {where_clause} ORDER BY core.id, thing"
        yield from map(AssociationRecord._make, self._rows(query, *values))

    def pairs_of_things(self, things: Iterable[str]) -> Iterator[AssociationRecord]:
        """Every association of these things, core by core; a thing may have several, or none.

        `things` is read to its end before the first association is given, and may be as long as it likes. Iterate to
        the end, or close it, before asking for names again.
        """
        yield from self._query_associations(
            "temp.requested CROSS JOIN association ON association.thing = requested.name"
            " JOIN core ON core.id = association.core",
            things,
        )

    def pairs_of_cores(self, cores: Iterable[str]) -> Iterator[AssociationRecord]:
        """Every association of these cores, core by core; as `pairs_of_things`."""
        yield from self._query_associations(
            "temp.requested CROSS JOIN core ON core.name = requested.name JOIN association ON association.core = core.id",
            cores,
        )

    def find_things(self, things: Iterable[str]) -> dict[str, list[AssociationRecord]]:
        """Of each thing its associations, in the order of `things`; an empty list for one that has none."""
        by_thing: dict[str, list[AssociationRecord]] = {thing: [] for thing in things}
        for pair in self.pairs_of_things(by_thing):
            by_thing[pair.thing].append(pair)
        return by_thing

    def unknown_cores(self, cores: Iterable[str]) -> Iterator[str]:
        """Those of the names that no listed core has: not in the snapshot, vanished, denied or failed."""
        with self._temp_names(cores):
            rows = self._rows(
                "SELECT requested.name FROM temp.requested LEFT JOIN core ON core.name = requested.name AND core.state = ?"
                " WHERE core.id IS NULL ORDER BY requested.name",
                int(CoreState.DONE),
            )
            with contextlib.closing(rows):
                for (name,) in rows:
                    yield name

    # --- within ---

    def _query_associations(self, join: str, names: Iterable[str]) -> Iterator[AssociationRecord]:
        query = f"{_SELECT_ASSOCIATIONS} {join} ORDER BY core.id, association.thing"
        with self._temp_names(names), contextlib.closing(self._rows(query)) as rows:
            for row in rows:
                yield AssociationRecord(*row)

    @contextlib.contextmanager
    def _temp_names(self, names: Iterable[str]) -> Iterator[None]:
        """The names as a table; it lives in a file of its own, since ours is only read."""
        with self._translate_errors():
            self._connection.execute("CREATE TEMP TABLE requested (name TEXT PRIMARY KEY) WITHOUT ROWID")
            try:
                self._connection.execute("BEGIN")
                self._connection.executemany("INSERT OR IGNORE INTO requested VALUES (?)", ((name,) for name in names))
                self._connection.execute("COMMIT")
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._connection.execute("DROP TABLE IF EXISTS temp.requested")

    def _rows(self, query: str, *values: object) -> Generator[Any, None, None]:
        with self._translate_errors():
            # In small pieces, and not the cursor itself: left half read, it would outlive its connection.
            cursor = self._connection.execute(query, values)
            try:
                while rows := cursor.fetchmany(1000):
                    yield from rows
            finally:
                cursor.close()

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:  # a damaged file may also hold values that are none of ours
            raise schema.translate_error(error, self.path) from None
