"""Import associations into a new journal: in any order, without duplicates, in bounded memory."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from asyncgg.errors import AsyncggError, JournalError
from asyncgg.files import sync_folder
from asyncgg.journal import schema
from asyncgg.journal.column_groups import joined_names
from asyncgg.journal.drafts import creation_error, lock_new, remove_drafts
from asyncgg.journal.reader import JournalReader
from asyncgg.journal.schema import FORMAT
from asyncgg.journal.staging import NameStaging
from asyncgg.models import MAX_BATCH
from asyncgg.name_columns import NameColumns
from asyncgg.storage import MetaStore, draft_path, remove_file

_REASON_CACHE_SIZE: Final = 10_000
_MAX_BUFFERED: Final = 64_000_000
"""Approximate bytes of names in memory, before they are staged and while those of one core are sorted."""
_NAME_OVERHEAD: Final = 64
"""Bytes of an entry of a list and of a string without its characters."""
_CORE_OVERHEAD: Final = 3 * _NAME_OVERHEAD
_STAGED_NAMES: Final = 10_000
"""Maximum names of a staged row, so that a row of a large core needs little memory."""
_CORES_AT_ONCE: Final = 1000
"""Cores that are written together, since each statement has a fixed cost."""


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


# Names are collected by core in memory, or as columns that are grouped by core, and staged in a
# temporary table, a row per core and collection. The collections are merged in the order of the
# cores and written, a hundred names per row. So SQLite handles few rows.
class Importer:
    """Builds a journal: call `add` any number of times, then `finish` or `discard`.

    The file is a draft with another name until it is complete. Drafts of killed imports are
    removed. Raises `JournalError` when the journal exists or cannot be created, `JournalWriteError`
    when the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._added = self._buffered = 0
        self._names_by_core: defaultdict[str, list[str]] = defaultdict(list)
        self._columns: list[NameColumns] = []
        self._committed = self._discarded = False
        self._reason_ids: dict[str, int] = {}
        self._draft = draft_path(path)
        self._lock = lock_new(path)
        try:
            self._require_unused()
            remove_drafts(path)
            with FORMAT.translate_errors(path), self._translate_os_errors():
                self._connection = schema.create(self._draft)
        except BaseException:
            self._lock.release()
            raise
        try:
            with FORMAT.translate_errors(path):
                self._connection.execute("PRAGMA cache_size = -16384")
                self._staging = NameStaging(self._connection)
                self._connection.execute("CREATE TEMP TABLE large_core (name TEXT NOT NULL, reason INTEGER NOT NULL)")
                self._connection.execute("BEGIN")
        except BaseException:
            self.discard()
            raise

    def add(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Add (core, thing) pairs; the names must be valid."""
        names_by_core = self._names_by_core
        self._added += len(pairs)
        if isinstance(pairs, NameColumns):
            self._columns.append(pairs)
            self._buffered += 2 * pairs.nbytes  # a copy is sorted
        else:
            for core, thing in pairs:
                names_by_core[core].append(thing)
            sample = pairs[::64]
            name_size = sum(len(thing) for _, thing in sample) // max(1, len(sample))
            self._buffered += len(pairs) * (_NAME_OVERHEAD + name_size)
        if self._buffered + _CORE_OVERHEAD * len(names_by_core) > _MAX_BUFFERED:
            with FORMAT.translate_errors(self.path):
                self._stage()

    def add_with_reasons(self, selected: Sequence[tuple[str, str, str]]) -> None:
        """Add (core, thing, reason): valid names, and why the thing was selected."""
        with FORMAT.translate_errors(self.path):
            rows = [(core, thing, self._reason_id(reason)) for core, thing, reason in selected]
            self._staging.add_selected(rows)
        self._added += len(selected)

    def finish(self, meta: Mapping[str, str], *, commit: bool = True) -> ImportSummary:
        """Sort, remove duplicates, write `meta` and commit the journal, which can then be run."""
        try:
            with FORMAT.translate_errors(self.path):
                summary = self._finish(meta)
        except AsyncggError:
            self.discard()
            raise
        if commit:
            self.commit()
        return summary

    def cores(self) -> list[str]:
        """The names of the cores of a finished journal that is not committed."""
        with FORMAT.translate_errors(self.path):
            return [name for (name,) in self._connection.execute("SELECT name FROM core ORDER BY id")]

    def commit(self, meta: Mapping[str, str] | None = None) -> None:
        """Add `meta` to a finished journal and give it its name."""
        try:
            with FORMAT.translate_errors(self.path), self._translate_os_errors():
                self._write_meta(meta or {})
                schema.finish_import(self._connection)
                self._connection.close()
                self._give_name()
                self._committed = True
                sync_folder(self.path.parent)
        except AsyncggError:
            self.discard()
            raise
        self._lock.release()

    def discard(self) -> None:
        """Remove the journal, unless it is committed and another process runs or ran it."""
        self._connection.close()
        if not self._committed:
            if not self._discarded:  # later it may be the draft of another process
                remove_file(self._draft)
                self._lock.release()
            self._discarded = True
            return
        with contextlib.suppress(JournalError):  # the file is missing or in use
            FORMAT.require_file(self.path)
            with FORMAT.lock(self.path):
                with JournalReader(self.path) as reader:
                    sent = reader.counts().sent
                if not sent:
                    remove_file(self.path)

    def _require_unused(self) -> None:
        if os.path.lexists(self.path):
            raise self._exists_error()

    def _exists_error(self) -> JournalError:
        return JournalError(f"{self.path} already exists; resume or retry it, or choose another --journal")

    def _give_name(self) -> None:
        """Rename the draft; unlike `rename`, a link replaces no file that appeared meanwhile."""
        try:
            os.link(self._draft, self.path)
        except FileExistsError:
            raise self._exists_error() from None
        except OSError:  # a file system without links
            self._require_unused()
            self._draft.rename(self.path)
        else:
            self._draft.unlink()

    @contextlib.contextmanager
    def _translate_os_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise creation_error(self.path, error) from None

    def _stage(self) -> None:
        names_by_core = self._names_by_core
        if names_by_core:
            self._staging.add_run(
                (core, " ".join(names_by_core[core][start : start + _STAGED_NAMES]))
                for core in sorted(names_by_core)
                for start in range(0, len(names_by_core[core]), _STAGED_NAMES)
            )
        if self._columns:
            self._staging.add_run(joined_names(self._columns, _STAGED_NAMES))
        self._names_by_core.clear()
        self._buffered = 0

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
        """First id and names of each block of the staged `rows`, sorted by core; writes the cores and reasons."""
        first = 1
        cores: list[tuple[str, int, int]] = []
        for core, core_rows in groupby(rows, itemgetter(0)):
            next_id = first
            for names, reasons in self._sorted_blocks(core_rows):
                if any(reasons):
                    self._write_reasons(next_id, reasons)
                yield next_id, " ".join(names)
                next_id += len(names)
            cores.append((core, first, next_id - 1))
            if len(cores) >= _CORES_AT_ONCE:
                self._write_cores(cores)
                cores.clear()
            first = next_id
        self._write_cores(cores)

    def _sorted_blocks(self, rows: Iterable[tuple[str, str, int]]) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
        """The distinct names of the staged `rows` of one core in blocks, with their reasons if there are any."""
        names: list[str] = []
        reasons: dict[str, int] = {}
        size, is_large = 0, False
        for _, joined, reason in rows:
            names += (group := joined.split(" "))
            if reason:
                reasons.update((name, max(reason, reasons.get(name, 0))) for name in group)
            size += len(joined) + _NAME_OVERHEAD * len(group)
            if size > _MAX_BUFFERED // 2:  # a copy is sorted
                self._add_to_large_core(names, reasons)
                names, reasons, size, is_large = [], {}, 0, True
        if is_large:
            self._add_to_large_core(names, reasons)
            yield from self._large_core_blocks()
            return
        names = sorted(set(names))
        for start in range(0, len(names), MAX_BATCH):
            block = names[start : start + MAX_BATCH]
            yield block, [reasons.get(name, 0) for name in block] if reasons else ()

    def _add_to_large_core(self, names: Sequence[str], reasons: Mapping[str, int]) -> None:
        rows = ((name, reasons.get(name, 0)) for name in names)
        self._connection.executemany("INSERT INTO large_core VALUES (?, ?)", rows)

    def _large_core_blocks(self) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
        # GROUP BY sorts, on disk if necessary; DISTINCT would build an index in random order.
        rows = self._connection.execute("SELECT name, max(reason) FROM large_core GROUP BY name")
        while block := rows.fetchmany(MAX_BATCH):
            names, reasons = zip(*block, strict=True)
            yield names, reasons
        self._connection.execute("DELETE FROM large_core")

    def _write_reasons(self, first: int, reasons: Sequence[int]) -> None:
        rows = [(number, reason) for number, reason in enumerate(reasons, first) if reason]
        self._connection.executemany("INSERT INTO selection VALUES (?, ?)", rows)

    def _write_cores(self, cores: Sequence[tuple[str, int, int]]) -> None:
        self._connection.executemany("INSERT INTO core (name, first, last) VALUES (?, ?, ?)", cores)

    def _finish(self, meta: Mapping[str, str]) -> ImportSummary:
        execute = self._connection.execute
        self._stage()
        blocks = self._name_blocks(self._staging.sorted_rows())
        self._connection.executemany("INSERT INTO name_block VALUES (?, ?)", blocks)
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
        self._write_meta({**initial_meta, **meta})
        execute("COMMIT")
        self._staging.drop()
        execute("DROP TABLE large_core")
        return summary

    def _write_meta(self, meta: Mapping[str, object]) -> None:
        MetaStore(self._connection).put(**meta)
