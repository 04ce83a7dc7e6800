"""Rule: everything that changes a snapshot is here, as plain blocking calls inside one transaction of the writer.

Nothing here begins or commits, and nothing here decides what a page means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from asyncgg.inventory.models import CoreState, SnapshotCounts
from asyncgg.models import ClientDevice, CoreDevice

__all__ = ["SnapshotStore", "snapshot_counts"]


class SnapshotStore:
    """A snapshot's changes over an open connection. Raises `sqlite3.Error` as it comes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    def get(self, key: str, default: str = "") -> str:
        """A value of the meta table."""
        row = self._execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def put(self, **values: object) -> None:
        """Set values of the meta table."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in values.items()]
        )

    def clear(self) -> None:
        """Forget everything."""
        for table in ("meta", "core", "association"):
            self._execute(f"DELETE FROM {table}")  # noqa: S608 - ours

    def add_cores(self, first: int, cores: Sequence[CoreDevice]) -> None:
        """Note new cores, which get the numbers from `first` on."""
        self._connection.executemany(
            "INSERT INTO core VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', 0, 0, '', '')",
            [
                (number, core.name, core.status, core.last_status_at, core.platform, core.architecture, core.runtime)
                for number, core in enumerate(cores, first)
            ],
        )

    def record_page(self, core: int, devices: Sequence[ClientDevice], token: str) -> None:
        """Keep a page of the core; its list goes on at `token`, or has come to its end when that is empty."""
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
            self._increment(duplicates=len(devices) - new)

    def count_invalid_names(self, number: int) -> None:
        """Count items whose name was none."""
        self._increment(invalid_names=number)

    def restart_listing(self, core: int) -> None:
        """Forget what was listed of the core: its list is read from the first page again."""
        self._execute("DELETE FROM association WHERE core = ?", (core,))
        self._execute("UPDATE core SET next_token = '', things = 0, state = 0 WHERE id = ?", (core,))

    def abandon_listing(self, core: int, state: CoreState, code: str, message: str) -> None:
        """The core will not be listed to its end; what is known of one that is denied or failed stays."""
        if state is CoreState.VANISHED:
            self.restart_listing(core)
        self._execute("UPDATE core SET state = ?, code = ?, message = ? WHERE id = ?", (state, code, message, core))

    def reopen_failed(self) -> None:
        """What was denied or failed in an earlier start is tried again."""
        self._execute("UPDATE core SET state = 0 WHERE state IN (?, ?)", (CoreState.DENIED, CoreState.FAILED))

    def core_names(self) -> Iterator[str]:
        """The cores' names by number, which has no gaps."""
        yield from (name for (name,) in self._execute("SELECT name FROM core ORDER BY id"))

    def unfinished_cores(self) -> list[tuple[int, str, str]]:
        """Number, name and next token of the cores that are still to be listed."""
        return self._execute("SELECT id, name, next_token FROM core WHERE state = 0 ORDER BY id").fetchall()

    def create_index(self) -> None:
        """Make the index by thing."""
        self._execute("CREATE INDEX IF NOT EXISTS association_thing ON association (thing)")

    def counts(self) -> SnapshotCounts:
        """What the snapshot holds."""
        return snapshot_counts(self._connection)

    def page_count(self) -> int:
        """Pages that were kept: of the list of cores and of all their lists."""
        (pages,) = self._execute("SELECT coalesce(sum(pages), 0) FROM core").fetchone()
        return int(self.get("cores_pages", "0")) + int(pages)

    def _increment(self, **amounts: int) -> None:
        for key, amount in amounts.items():
            self.put(**{key: int(self.get(key, "0")) + amount})


def snapshot_counts(connection: sqlite3.Connection) -> SnapshotCounts:
    """What the snapshot behind `connection` holds."""
    states = dict(connection.execute("SELECT state, count(*) FROM core GROUP BY state"))
    (associations,) = connection.execute("SELECT coalesce(sum(things), 0) FROM core").fetchone()
    counters = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('invalid_names', 'duplicates')"))
    return SnapshotCounts(
        cores=sum(states.values()),
        waiting=states.get(CoreState.WAITING, 0),
        listed=states.get(CoreState.DONE, 0),
        vanished=states.get(CoreState.VANISHED, 0),
        denied=states.get(CoreState.DENIED, 0),
        failed=states.get(CoreState.FAILED, 0),
        associations=associations,
        invalid_names=int(counters.get("invalid_names", 0)),
        duplicates=int(counters.get("duplicates", 0)),
    )
