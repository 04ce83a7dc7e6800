"""Names of things on their way into a journal, sorted by core on disk."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from operator import itemgetter


class NameStaging:
    """Temporary tables of names, as runs that are each sorted by core. Raises `sqlite3.Error`.

    The runs are merged in the end, which needs no sort of all rows.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ends = [0]
        connection.execute("PRAGMA temp_store = FILE")
        # `names` are separated by one space.
        connection.execute(
            "CREATE TEMP TABLE staging (id INTEGER PRIMARY KEY, core TEXT NOT NULL, names TEXT NOT NULL)"
        )
        connection.execute(
            "CREATE TEMP TABLE selected (core TEXT NOT NULL, name TEXT NOT NULL, reason INTEGER NOT NULL)"
        )

    def add_run(self, rows: Iterable[tuple[str, str]]) -> None:
        """Add cores and their names, in the order of the cores; a core can come several times."""
        self._connection.executemany("INSERT INTO staging (core, names) VALUES (?, ?)", rows)
        (end,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM staging").fetchone()
        self._ends.append(end)

    def add_selected(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Add (core, thing, id of its reason) in any order."""
        self._connection.executemany("INSERT INTO selected VALUES (?, ?, ?)", rows)

    def sorted_rows(self) -> Iterator[tuple[str, str, int]]:
        """Core, names and reason of all rows in the order of the cores; without a reason it is 0."""
        execute = self._connection.execute
        runs = [
            execute("SELECT core, names, 0 FROM staging WHERE id > ? AND id <= ? ORDER BY id", bounds)
            for bounds in zip(self._ends, self._ends[1:], strict=False)
        ]
        selected = execute("SELECT core, name, reason FROM selected ORDER BY core")
        # `merge` would close a cursor when it is abandoned, which fails if its connection is closed.
        return heapq.merge(*(iter(cursor.fetchone, None) for cursor in (*runs, selected)), key=itemgetter(0))

    def drop(self) -> None:
        """Remove the tables."""
        self._connection.execute("DROP TABLE staging")
        self._connection.execute("DROP TABLE selected")
