"""Every change of a snapshot, as blocking calls within a transaction of the writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncgg.inventory.models import CoreState, SnapshotCounts
from asyncgg.models import ClientDevice, CoreDevice
from asyncgg.storage import MetaStore


class SnapshotStore(MetaStore):
    """The changes of a snapshot over an open connection. Raises `sqlite3.Error`."""

    def clear(self) -> None:
        """Delete everything."""
        for table in ("meta", "core", "association"):
            self._execute(f"DELETE FROM {table}")  # noqa: S608 - a constant

    def add_cores(self, first: int, cores: Sequence[CoreDevice]) -> None:
        """Add cores, numbered from `first`."""
        self._connection.executemany(
            "INSERT INTO core VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', 0, 0, '', '')",
            [
                (number, core.name, core.status, core.last_status_at, core.platform, core.architecture, core.runtime)
                for number, core in enumerate(cores, first)
            ],
        )

    def record_page(self, core: int, devices: Sequence[ClientDevice], token: str) -> None:
        """Record a page of a core's list; `token`: of the next page, empty after the last."""
        before = self._connection.total_changes
        self._connection.executemany(
            f"INSERT OR IGNORE INTO association VALUES ({int(core)}, ?, ?)",  # noqa: S608 - a number
            devices,
        )
        new = self._connection.total_changes - before
        self._execute(
            "UPDATE core SET pages = pages + 1, things = things + ?, next_token = ?, state = ?, code = '', message = ''"
            " WHERE id = ?",
            (new, token, int(CoreState.WAITING if token else CoreState.DONE), core),
        )
        if new < len(devices):
            self._increment("duplicates", len(devices) - new)

    def count_invalid_names(self, number: int) -> None:
        """Count items with an invalid name."""
        self._increment("invalid_names", number)

    def restart_listing(self, core: int) -> None:
        """Delete what was listed of the core, so that its list starts from the first page."""
        self._execute("DELETE FROM association WHERE core = ?", (core,))
        self._execute("UPDATE core SET next_token = '', things = 0, state = 0 WHERE id = ?", (core,))

    def abandon_listing(self, core: int, state: CoreState, code: str, message: str) -> None:
        """Set the state of an incomplete list; the pages of a denied or failed core stay."""
        if state is CoreState.VANISHED:
            self.restart_listing(core)
        self._execute("UPDATE core SET state = ?, code = ?, message = ? WHERE id = ?", (state, code, message, core))

    def reopen_failed(self) -> None:
        """Make the denied and failed cores of an earlier start wait for another attempt."""
        self._execute("UPDATE core SET state = 0 WHERE state IN (?, ?)", (CoreState.DENIED, CoreState.FAILED))

    def core_names(self) -> Iterator[str]:
        """The names of the cores by number; the numbers have no gaps."""
        yield from (name for (name,) in self._execute("SELECT name FROM core ORDER BY id"))

    def unfinished_cores(self) -> list[tuple[int, str, str]]:
        """Number, name and next token of the cores still to be listed."""
        return self._execute("SELECT id, name, next_token FROM core WHERE state = 0 ORDER BY id").fetchall()

    def create_index(self) -> None:
        """Create the index by thing."""
        self._execute("CREATE INDEX IF NOT EXISTS association_thing ON association (thing)")

    def counts(self) -> SnapshotCounts:
        """The counts of the snapshot."""
        states = dict(self._execute("SELECT state, count(*) FROM core GROUP BY state"))
        (associations,) = self._execute("SELECT coalesce(sum(things), 0) FROM core").fetchone()
        return SnapshotCounts(
            cores=sum(states.values()),
            waiting=states.get(CoreState.WAITING, 0),
            listed=states.get(CoreState.DONE, 0),
            vanished=states.get(CoreState.VANISHED, 0),
            denied=states.get(CoreState.DENIED, 0),
            failed=states.get(CoreState.FAILED, 0),
            associations=associations,
            invalid_names=int(self.get("invalid_names", "0")),
            duplicates=int(self.get("duplicates", "0")),
        )

    def page_count(self) -> int:
        """Recorded pages: of the list of cores and of every list of client devices."""
        (pages,) = self._execute("SELECT coalesce(sum(pages), 0) FROM core").fetchone()
        return int(self.get("cores_pages", "0")) + int(pages)

    def _increment(self, key: str, amount: int) -> None:
        self.put(**{key: int(self.get(key, "0")) + amount})
