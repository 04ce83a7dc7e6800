"""Rule: associations become a journal here, in any order and number, in bounded memory, each one once.

They are first appended to a temporary table without an index, then written to their place in one sorted pass, a hundred
to a row; SQLite sorts on disk what does not fit its cache.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from asyncgg.errors import AsyncggError, JournalError
from asyncgg.journal import schema
from asyncgg.journal.lock import FileLock
from asyncgg.journal.reader import JournalReader
from asyncgg.models import MAX_BATCH

__all__ = ["ImportSummary", "Importer"]

_REASON_CACHE_SIZE: Final = 10_000


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import came to."""

    total: int
    """Distinct associations."""
    duplicates: int
    cores: int
    minimum: int
    """The fewest requests: the sum over the cores of ceil(n / 100)."""
    largest_core: int
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
        self._reason_ids: dict[str, int] = {}
        self._connection = schema.create(path)
        try:
            self._connection.execute("PRAGMA cache_size = -65536")
            self._connection.execute("PRAGMA temp_store = FILE")
            self._connection.execute(
                "CREATE TEMP TABLE staging (core TEXT NOT NULL, name TEXT NOT NULL, reason INTEGER)"
            )
            self._connection.execute("BEGIN")
        except BaseException as error:
            self.discard()
            if isinstance(error, sqlite3.Error):
                raise schema.translate_error(error, path) from None
            raise

    def add(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Take in (core, thing) pairs that are valid names."""
        with self._translate_errors():
            self._connection.executemany("INSERT INTO staging (core, name) VALUES (?, ?)", pairs)
        self._added += len(pairs)

    def add_with_reasons(self, selected: Sequence[tuple[str, str, str]]) -> None:
        """Take in (core, thing, reason): valid names, and why the thing was chosen."""
        with self._translate_errors():
            rows = [(core, thing, self._reason_id(reason)) for core, thing, reason in selected]
            self._connection.executemany("INSERT INTO staging VALUES (?, ?, ?)", rows)
        self._added += len(selected)

    def finish(self, meta: Mapping[str, str]) -> ImportSummary:
        """Sort, drop duplicates, write `meta` and close: from here on the journal can be run."""
        try:
            with self._translate_errors():
                summary = self._finish(meta)
        except AsyncggError:
            self.discard()
            raise
        self._connection.close()
        self._finished = True
        return summary

    def discard(self) -> None:
        """Remove the journal, unless it is finished and another start has got hold of it since: then it is not ours."""
        self._connection.close()
        if not self._finished:
            self._remove()
            return
        with contextlib.suppress(JournalError):  # it is gone, or being run
            schema.require_file(self.path)
            lock = FileLock(self.path)
            try:
                with JournalReader(self.path) as reader:
                    sent = reader.counts().sent
                if not sent:
                    self._remove()
            finally:
                lock.release()

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _reason_id(self, text: str) -> int:
        """The number of a reason; 0 for none."""
        if not text:
            return 0
        number = self._reason_ids.get(text)
        if number is None:
            execute = self._connection.execute
            execute("INSERT OR IGNORE INTO reason (text) VALUES (?)", (text,))
            (number,) = execute("SELECT id FROM reason WHERE text = ?", (text,)).fetchone()
            if len(self._reason_ids) >= _REASON_CACHE_SIZE:
                self._reason_ids.clear()
            self._reason_ids[text] = number
        return number

    def _name_blocks(self, rows: Iterable[tuple[str, str, int]]) -> Iterator[tuple[int, str]]:
        """The things of sorted `rows` in their order, which gives them their ids; writes the rest on the way."""
        first = 1
        for core, core_rows in groupby(rows, itemgetter(0)):
            next_id = first
            while block := list(islice(core_rows, MAX_BATCH)):
                _, names, reasons = zip(*block, strict=True)
                if any(reasons):
                    self._write_reasons(next_id, reasons)
                yield next_id, " ".join(names)
                next_id += len(block)
            self._write_core(core, first, next_id - 1)
            first = next_id

    def _write_reasons(self, first: int, reasons: Sequence[int]) -> None:
        rows = [(number, reason) for number, reason in enumerate(reasons, first) if reason]
        self._connection.executemany("INSERT INTO selection VALUES (?, ?)", rows)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise schema.translate_error(error, self.path) from None

    def _write_core(self, name: str, first: int, last: int) -> None:
        self._connection.execute("INSERT INTO core (name, first, last) VALUES (?, ?, ?)", (name, first, last))

    def _finish(self, meta: Mapping[str, str]) -> ImportSummary:
        execute = self._connection.execute
        # GROUP BY sorts, on the disk if need be; DISTINCT would build an index in random order.
        rows = execute("SELECT core, name, coalesce(max(reason), 0) FROM staging GROUP BY core, name")
        self._connection.executemany("INSERT INTO name_block VALUES (?, ?)", self._name_blocks(rows))
        cores, total, minimum, largest = execute(
            "SELECT count(*), coalesce(sum(last - first + 1), 0), coalesce(sum((last - first + ?1) / ?1), 0),"
            " coalesce(max(last - first + 1), 0) FROM core",
            (MAX_BATCH,),
        ).fetchone()
        summary = ImportSummary(total, self._added - total, cores, minimum, largest)
        initial_meta = {
            "total": total,
            "duplicates": summary.duplicates,
            "cores": cores,
            "minimum": minimum,
            "pass": 1,
            "min_pass": 1,
            "seconds": 0.0,
        }
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [(key, str(value)) for key, value in initial_meta.items()] + list(meta.items()),
        )
        execute("COMMIT")
        execute("DROP TABLE staging")
        schema.finish_import(self._connection)
        return summary
