"""Read and query a snapshot, streamed, also while a scan writes it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from asyncgg.errors import SnapshotError
from asyncgg.inventory.models import AssociationRecord, CoreState, Origin, ScannedCore, SnapshotCounts
from asyncgg.inventory.schema import FORMAT
from asyncgg.inventory.store import SnapshotStore
from asyncgg.models import CoreDevice
from asyncgg.storage import SqliteReader
from asyncgg.storage.sqlite import rollback
from asyncgg.transport.base import CoreFilter

_SELECT_ASSOCIATIONS = "SELECT core.name, association.thing, association.associated_at FROM"


class Snapshot(SqliteReader):
    """A snapshot opened for reading. For one thread at a time.

    Raises `SnapshotError` when the file is not a snapshot; every query does when the file is
    damaged.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(FORMAT, Path(path))

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA temp_store = FILE")
        self._meta: dict[str, str] = dict(self._rows("SELECT key, value FROM meta"))

    # --- metadata ---

    @property
    def finished(self) -> bool:
        """Whether the scan is complete; otherwise the snapshot has a part of the fleet."""
        return self._meta.get("finished") == "1"

    @property
    def started_at(self) -> float:
        """Start of the scan in seconds since 1970, UTC: the content may be as old as this."""
        with self._translate_errors():
            return float(self._meta.get("started_at") or 0)

    @property
    def ended_at(self) -> float | None:
        """End of the scan in seconds since 1970, UTC; None while it is unfinished."""
        with self._translate_errors():
            return float(self._meta["ended_at"]) if "ended_at" in self._meta else None

    @property
    def origin(self) -> Origin:
        """The account, Region and endpoint of the fleet."""
        return Origin(*(self._meta.get(key, "") for key in ("account", "region", "endpoint")))

    @property
    def filters(self) -> CoreFilter:
        """The filters of the scan."""
        with self._translate_errors():
            return CoreFilter(**json.loads(self._meta.get("filters") or "{}"))

    @property
    def lists_named_cores_only(self) -> bool:
        """Whether the scan listed only named cores."""
        return bool(self._meta.get("cores_digest"))

    @property
    def coverage_note(self) -> str:
        """Which cores are included, as a phrase for messages; empty for all cores of the Region."""
        if self.lists_named_cores_only:
            return "only named cores"
        return "" if self.filters == CoreFilter() else "only cores that match its filters"

    def require_finished(self) -> None:
        """Raise `SnapshotError` unless the scan is complete."""
        if not self.finished:
            raise SnapshotError(
                f"{self.path} contains an unfinished scan; complete it with: asyncgg inventory --out {self.path}"
            )

    def counts(self) -> SnapshotCounts:
        """The counts of the snapshot."""
        with self._translate_errors():
            return SnapshotStore(self._connection).counts()

    @property
    def failed_share(self) -> float:
        """As `ScanResult.failed_share`."""
        return self.counts().failed_share if self.finished else 1.0

    # --- content ---

    def cores(self) -> Iterator[ScannedCore]:
        """Every core, in the order the service returned them."""
        for name, status, last, platform, architecture, runtime, state, things, pages, code, message in self._rows(
            "SELECT name, status, last_status_at, platform, architecture, runtime, state, things, pages, code, message"
            " FROM core ORDER BY id"
        ):
            device = CoreDevice(name, status, last, platform, architecture, runtime)
            yield ScannedCore(device, CoreState(state), things, pages, code, message)

    def associations(self, core: str | None = None) -> Iterator[AssociationRecord]:
        """Every association, or those of one core; by core, then by thing name."""
        where_clause, values = ("", ()) if core is None else ("WHERE core.name = ?", (core,))
        tables = "core JOIN association ON association.core = core.id"
        query = f"{_SELECT_ASSOCIATIONS} {tables} {where_clause} ORDER BY core.id, thing"
        yield from map(AssociationRecord._make, self._rows(query, *values))

    def pairs_of_things(self, things: Iterable[str]) -> Iterator[AssociationRecord]:
        """Every association of these things, by core; a thing may have several, or none.

        `things` is read completely before the first association is yielded, into a temporary table,
        and may be of any length. Exhaust or close the iterator before the next query by names.
        """
        yield from self._query_associations(
            "temp.requested CROSS JOIN association ON association.thing = requested.name"
            " JOIN core ON core.id = association.core",
            things,
        )

    def pairs_of_cores(self, cores: Iterable[str]) -> Iterator[AssociationRecord]:
        """Every association of these cores, by core; as `pairs_of_things`."""
        yield from self._query_associations(
            "temp.requested CROSS JOIN core ON core.name = requested.name"
            " JOIN association ON association.core = core.id",
            cores,
        )

    def find_things(self, things: Iterable[str]) -> dict[str, list[AssociationRecord]]:
        """The associations of each thing, in the order of `things`; may be empty."""
        by_thing: dict[str, list[AssociationRecord]] = {thing: [] for thing in things}
        for pair in self.pairs_of_things(by_thing):
            by_thing[pair.thing].append(pair)
        return by_thing

    def unknown_cores(self, cores: Iterable[str]) -> Iterator[str]:
        """The names without a listed core: not in the snapshot, vanished, denied or failed."""
        with self._temp_names(cores):
            rows = self._rows(
                "SELECT requested.name FROM temp.requested"
                " LEFT JOIN core ON core.name = requested.name AND core.state = ?"
                " WHERE core.id IS NULL ORDER BY requested.name",
                int(CoreState.DONE),
            )
            with contextlib.closing(rows):
                for (name,) in rows:
                    yield name

    def _query_associations(self, join: str, names: Iterable[str]) -> Iterator[AssociationRecord]:
        query = f"{_SELECT_ASSOCIATIONS} {join} ORDER BY core.id, association.thing"
        with self._temp_names(names), contextlib.closing(self._rows(query)) as rows:
            for row in rows:
                yield AssociationRecord(*row)

    @contextlib.contextmanager
    def _temp_names(self, names: Iterable[str]) -> Iterator[None]:
        """The names as a temporary table, which SQLite stores in another file."""
        with self._translate_errors():
            self._connection.execute("CREATE TEMP TABLE requested (name TEXT PRIMARY KEY) WITHOUT ROWID")
            try:
                self._connection.execute("BEGIN")
                self._connection.executemany("INSERT OR IGNORE INTO requested VALUES (?)", ((name,) for name in names))
                self._connection.execute("COMMIT")
                yield
            finally:
                rollback(self._connection)
                self._connection.execute("DROP TABLE IF EXISTS temp.requested")
