"""Rule: associations become a journal here, in any order and number, in bounded memory, each one once.

They are first appended to a temporary table without an index, then written to their place in one sorted pass; SQLite
sorts on disk what does not fit its cache.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncgg.errors import JournalError
from asyncgg.journal import schema
from asyncgg.journal.lock import RunLock
from asyncgg.journal.reader import JournalReader
from asyncgg.model import MAX_BATCH

__all__ = ["Imported", "Importer"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to."""

    total: int
    """Distinct associations."""
    duplicates: int
    cores: int
    minimum: int
    """The fewest requests: the sum over the cores of ceil(n / 100)."""
    largest: int
    """Things of the core that has most."""


class Importer:
    """Builds the journal at `path`. Call `add` any number of times, then `finish` or `discard`. Not for two threads
    at once.

    Raises `JournalError` when the file is there already or cannot be created, `JournalWriteError` when it cannot be
    written: a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._added = 0
        self._finished = False
        self._connection = schema.create(path)
        try:
            self._connection.execute("PRAGMA cache_size = -65536")
            self._connection.execute("PRAGMA temp_store = FILE")
            self._connection.execute("CREATE TEMP TABLE staging (core TEXT NOT NULL, name TEXT NOT NULL)")
            self._connection.execute("BEGIN")
        except BaseException as error:
            self.discard()
            if isinstance(error, sqlite3.Error):
                raise schema.explain(error, path) from None
            raise

    def add(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Take in (core, thing) pairs that are valid names."""
        try:
            self._connection.executemany("INSERT INTO staging VALUES (?, ?)", pairs)
        except sqlite3.Error as error:
            raise schema.explain(error, self.path) from None
        self._added += len(pairs)

    def finish(self, meta: Mapping[str, str]) -> Imported:
        """Sort, drop duplicates, write `meta` and close: from here on the journal can be run."""
        try:
            imported = self._finish(meta)
        except sqlite3.Error as error:
            self.discard()
            raise schema.explain(error, self.path) from None
        self._connection.close()
        self._finished = True
        return imported

    def discard(self) -> None:
        """Remove the journal, unless it is finished and another start has got hold of it since: then it is not ours."""
        self._connection.close()
        if not self._finished:
            self._remove()
            return
        with contextlib.suppress(JournalError):  # it is gone, or being run
            schema.require_file(self.path)
            lock = RunLock(self.path)
            try:
                with JournalReader(self.path) as reader:
                    sent = reader.counts().sent
                if not sent:
                    self._remove()
            finally:
                lock.release()

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def _numbered(self, rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str]]:
        """The things of sorted `rows` in their order, which gives them their ids; writes the cores on the way."""
        current, first, number = None, 1, 0
        for number, (core, name) in enumerate(rows, 1):
            if core != current:
                if current is not None:
                    self._write_core(current, first, number - 1)
                current, first = core, number
            yield (name,)
        if current is not None:
            self._write_core(current, first, number)

    def _write_core(self, name: str, first: int, last: int) -> None:
        self._connection.execute("INSERT INTO core (name, first, last) VALUES (?, ?, ?)", (name, first, last))

    def _finish(self, meta: Mapping[str, str]) -> Imported:
        execute = self._connection.execute
        # GROUP BY sorts, on the disk if need be; DISTINCT would build an index in random order.
        rows = execute("SELECT core, name FROM staging GROUP BY core, name")
        self._connection.executemany("INSERT INTO name (name) VALUES (?)", self._numbered(rows))
        cores, total, minimum, largest = execute(
            "SELECT count(*), coalesce(sum(last - first + 1), 0), coalesce(sum((last - first + ?1) / ?1), 0),"
            " coalesce(max(last - first + 1), 0) FROM core",
            (MAX_BATCH,),
        ).fetchone()
        imported = Imported(total, self._added - total, cores, minimum, largest)
        figures = {
            "total": total,
            "duplicates": imported.duplicates,
            "cores": cores,
            "minimum": minimum,
            "pass": 1,
            "scope": 1,
            "seconds": 0.0,
        }
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [(key, str(value)) for key, value in figures.items()] + list(meta.items()),
        )
        execute("COMMIT")
        execute("DROP TABLE staging")
        schema.finish_import(self._connection)
        return imported
