"""The local copy of a state: what to restore from the store, and what to save there."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from asyncgg.errors import JournalError, StateWriteError
from asyncgg.formatting import sanitize
from asyncgg.journal import JournalReader, mark_possibly_sent
from asyncgg.models import RunState
from asyncgg.report import summary_to_dict
from asyncgg.run_directory import RunDirectory, StateDirectory
from asyncgg.state.document import SavedFile, StateDocument
from asyncgg.storage import DRAFT_SUFFIX

SUMMARY: Final = "summary.json"
"""The summary of each saved journal, next to it."""
_SQLITE_SUFFIXES: Final = frozenset({".journal", ".db"})
_TIME_RESOLUTION: Final = 50_000_000
"""Nanoseconds within which two changes of a file can have the same time; Linux updates it every 1 to 10 ms."""
_NOT_SAVED: Final = ("-wal", "-shm", "-journal", ".lock", ".part", DRAFT_SUFFIX)


@dataclass(frozen=True, slots=True)
class FileCopy:
    """A consistent copy of a file that changed since it was saved."""

    name: str
    """Its name in `StateDocument.files`."""
    path: Path
    saved: SavedFile
    signature: object
    """Identifies the content that was copied."""


class WorkingFolder:
    """A folder with some runs of a state, mostly the newest one, and an empty folder for each other one.

    Deleting the folder of a run deletes it in the state, too. Blocking.
    """

    def __init__(self, folder: Path, keep_runs: int) -> None:
        self.folder = folder / "runs"
        self.runs = StateDirectory(self.folder, keep_runs)
        self._copies = folder / "copies"
        self._copies.mkdir()
        self._absent: set[str] = set()  # names of runs that were not restored
        self._signatures: dict[str, object] = {}

    def create_folders(self, document: StateDocument) -> None:
        """Make the folder of each run. Raises `JournalError` for a side file, which no state has."""
        for name in document.files:
            if name.endswith(_NOT_SAVED):
                raise JournalError(f"the state has a file of an invalid name: {sanitize(name)}")
            (self.folder / name).parent.mkdir(exist_ok=True)
        self._absent = set(document.runs())

    def is_restored(self, run: str) -> bool:
        """Whether the folder of this run has its files."""
        return run not in self._absent

    def paths(self, document: StateDocument, run: str) -> dict[str, Path]:
        """Where the files of a run belong, by name."""
        return {name: self.folder / name for name in document.files if name.startswith(f"{run}/")}

    def mark_restored(self, run: str) -> None:
        """The files of this run are there."""
        self._absent.discard(run)

    def check(self, name: str, saved: SavedFile) -> None:
        """Raise `JournalError` unless the restored file is the saved one."""
        path = self.folder / name
        if (path.stat().st_size, _sha256(path)) != (saved.size, saved.sha256):
            raise JournalError(f"{name} of the state is damaged; restore its store from a backup, or use another state")
        _set_older_time(path)
        self._signatures[name] = _signature(path)

    async def mark_possibly_sent(self) -> None:
        """The saved journal is older than what was sent: everything pending was possibly sent."""
        latest = self.runs.latest()
        if latest is not None and latest.has_journal:
            await asyncio.to_thread(asyncio.run, mark_possibly_sent(latest.journal))  # can take seconds

    def kept(self, document: StateDocument) -> dict[str, SavedFile]:
        """The files of `document` that are still wanted. Raises `StateWriteError` if the folder is gone.

        A run is kept as long as its folder exists, its journal and snapshots too. Other files can be deleted.
        """
        if not self.folder.is_dir():
            raise StateWriteError(f"{self.folder} was deleted during the run; later outcomes cannot be saved")
        return {
            name: saved
            for name, saved in document.files.items()
            if (path := self.folder / name).exists()
            or (path.parent.is_dir() and (path.parent.name in self._absent or path.suffix in _SQLITE_SUFFIXES))
        }

    def copy_changed(self, make_key: Callable[[str], str], location: str, *, is_running: bool) -> Iterator[FileCopy]:
        """Copy each file that changed since it was saved. The copies exist until the next one is made."""
        directories = self.runs.run_directories()
        for path in sorted(path for run in directories for path in run.folder.iterdir()):
            name = path.relative_to(self.folder).as_posix()
            if not path.is_file() or path.name.endswith(_NOT_SAVED) or path.name == SUMMARY:
                continue
            signature = _signature(path)
            if self._signatures.get(name) == signature:
                continue
            folder = Path(tempfile.mkdtemp(dir=self._copies))
            try:
                copy, summary = folder / path.name, folder / SUMMARY
                copy_file(path, copy)
                yield _describe(name, copy, make_key, signature)
                if path == RunDirectory(path.parent).journal:
                    runs_now = is_running and path.parent == directories[-1].folder
                    _write_summary(copy, summary, f"{location}: {name}", is_running=runs_now)
                    shutil.copyfile(summary, path.parent / SUMMARY)
                    yield _describe(f"{path.parent.name}/{SUMMARY}", summary, make_key, signature)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def mark_saved(self, copies: Iterable[FileCopy]) -> None:
        """Copy these files again only when they have changed."""
        self._signatures |= {copy.name: copy.signature for copy in copies}


def _describe(name: str, copy: Path, make_key: Callable[[str], str], signature: object) -> FileCopy:
    return FileCopy(name, copy, SavedFile(make_key(name), copy.stat().st_size, _sha256(copy)), signature)


def _signature(path: Path) -> object:
    """Changes with the content of a file and of its WAL file; unique for a file that was changed just now."""
    # The next change could have the same time, and the same size, because SQLite overwrites a WAL file.
    unchanged_before = time.time_ns() - _TIME_RESOLUTION
    values: list[object] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            values += (status.st_size, status.st_mtime_ns, status.st_ino)
            if status.st_mtime_ns > unchanged_before:
                values.append(object())
    return tuple(values)


def _set_older_time(path: Path) -> None:
    """Set the time of a file, which is not open, to one that a later change cannot have."""
    before = time.time_ns() - 2 * _TIME_RESOLUTION
    os.utime(path, ns=(before, before))


def copy_file(path: Path, copy: Path) -> None:
    """Copy a file, or a database that can be in use, as it is at one moment."""
    if path.suffix not in _SQLITE_SUFFIXES:
        shutil.copyfile(path, copy)
        return
    # Never opened as a plain file: closing it would drop the locks that SQLite has on it.
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as source,
        contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        target.execute("PRAGMA synchronous = OFF")
        source.backup(target)  # in one step, so of one moment
        target.execute("PRAGMA journal_mode = DELETE")
        target.execute("UPDATE meta SET value = '0' WHERE key = 'wal_required'")


def _write_summary(journal: Path, path: Path, shown_path: str, *, is_running: bool) -> None:
    with JournalReader(journal) as reader:
        summary, meta = reader.summary(), reader.meta()
    summary = replace(summary, journal=shown_path, state=RunState.RUNNING if is_running else summary.state)
    document = summary_to_dict(summary, reason=meta.get("reason", "")) | {"source": meta.get("source", "")}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
