"""Import associations into a new journal: in any order, without duplicates, in bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from asyncgg.errors import AsyncggError, JournalError
from asyncgg.journal import schema
from asyncgg.journal.reader import JournalReader
from asyncgg.journal.schema import FORMAT
from asyncgg.models import MAX_BATCH
from asyncgg.storage import remove_file

_REASON_CACHE_SIZE: Final = 10_000


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """The counts of an import."""

    total: int
    """Distinct associations."""
    duplicates: int
    cores: int
    minimum: int
    """Minimum requests: the sum over the cores of ceil(n / 100)."""
    largest_core: int
    """Things of the core with the most things."""


# Rows are appended to a temporary table without an index, then written in one sorted pass, a
# hundred names per row. SQLite sorts on disk what exceeds its cache.
class Importer:
    """Builds a journal: call `add` any number of times, then `finish` or `discard`.

    Raises `JournalError` when the file exists or cannot be created, `JournalWriteError` when the
    disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._added = 0
        self._finished = False
        self._reason_ids: dict[str, int] = {}
        self._connection = schema.create(path)
        try:
            with FORMAT.translate_errors(path):
                self._connection.execute("PRAGMA cache_size = -65536")
                self._connection.execute("PRAGMA temp_store = FILE")
                self._connection.execute(
                    "CREATE TEMP TABLE staging (core TEXT NOT NULL, name TEXT NOT NULL, reason INTEGER)"
                )
                self._connection.execute("BEGIN")
        except BaseException:
            self.discard()
            raise

    def add(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Add (core, thing) pairs; the names must be valid."""
        with FORMAT.translate_errors(self.path):
            self._connection.executemany("INSERT INTO staging (core, name) VALUES (?, ?)", pairs)
        self._added += len(pairs)

    def add_with_reasons(self, selected: Sequence[tuple[str, str, str]]) -> None:
        """Add (core, thing, reason): valid names, and why the thing was selected."""
        with FORMAT.translate_errors(self.path):
            rows = [(core, thing, self._reason_id(reason)) for core, thing, reason in selected]
            self._connection.executemany("INSERT INTO staging VALUES (?, ?, ?)", rows)
        self._added += len(selected)

    def finish(self, meta: Mapping[str, str]) -> ImportSummary:
        """Sort, remove duplicates, write `meta` and close the journal, which can then be run."""
        try:
            with FORMAT.translate_errors(self.path):
                summary = self._finish(meta)
        except AsyncggError:
            self.discard()
            raise
        self._connection.close()
        self._finished = True
        return summary

    def discard(self) -> None:
        """Remove the journal, unless it is finished and another process runs or ran it."""
        self._connection.close()
        if not self._finished:
            remove_file(self.path)
            return
        with contextlib.suppress(JournalError):  # the file is missing or in use
            FORMAT.require_file(self.path)
            with FORMAT.lock(self.path):
                with JournalReader(self.path) as reader:
                    sent = reader.counts().sent
                if not sent:
                    remove_file(self.path)

    def _reason_id(self, text: str) -> int:
        """The id of a reason; 0 without a reason."""
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
        """First id and names of each block of the sorted `rows`; writes the cores and reasons."""
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

    def _write_core(self, name: str, first: int, last: int) -> None:
        self._connection.execute("INSERT INTO core (name, first, last) VALUES (?, ?, ?)", (name, first, last))

    def _finish(self, meta: Mapping[str, str]) -> ImportSummary:
        execute = self._connection.execute
        # GROUP BY sorts, on disk if necessary; DISTINCT would build an index in random order.
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
