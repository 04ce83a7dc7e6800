"""Helpers to create journals, claim things and query the file."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from asyncgg.aggregator import Batch, BatchResult, ThingResult
from asyncgg.batching import Claim, CoreQueue
from asyncgg.classify import ReplyVerdict
from asyncgg.journal import Importer, ImportSummary, JournalStore, JournalWriter, RecordedReply
from asyncgg.models import ThingState

RECORDED_REPLY = RecordedReply(1234.5, "accepted", 200, "", "aws-1")
ALL_DISASSOCIATED = BatchResult(ReplyVerdict.ACCEPTED, ThingState.DISASSOCIATED, counts_as_attempt=True)
_SHM = Path("/dev/shm")


def make_pairs(cores: int, things: int) -> list[tuple[str, str]]:
    """Pairs of `cores` cores with `things` things each."""
    return [(f"core-{core:03}", f"thing-{number:05}") for core in range(cores) for number in range(things)]


def create_journal(
    path: Path, pairs: Iterable[tuple[str, str]] = (("c", "a"),), meta: Mapping[str, str] | None = None
) -> ImportSummary:
    """Create a finished journal at `path`."""
    importer = Importer(path)
    importer.add(list(pairs))
    return importer.finish(meta or {})


def claim_all(store: JournalStore, queue: CoreQueue) -> list[Batch]:
    """Claim all pending things of one core in full batches."""
    batches, remaining = [], queue.unsent
    while remaining:
        limit = min(100, remaining)
        batches.append(store.claim(Claim(queue, queue.first, queue.last, limit), now=1000.0))
        remaining -= limit
    return batches


def all_failed(batch: Batch, code: str = "AccessDenied", message: str = "no") -> BatchResult:
    """The result in which every thing of `batch` fails."""
    results = tuple(ThingResult(index, ThingState.FAILED, code, message) for index in range(len(batch.ids)))
    return BatchResult(ReplyVerdict.ACCEPTED, ThingState.DISASSOCIATED, counts_as_attempt=True, overrides=results)


def query_file(path: Path, query: str, *values: object) -> list[Any]:
    """Query the file as another process would."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(query, values).fetchall()


def folder_entries(path: Path) -> list[str]:
    """The names in the journal's folder."""
    return sorted(entry.name for entry in path.parent.iterdir())


def memory_folder() -> Path | None:
    """A file system in memory, if available, for tests that create many journals."""
    return _SHM if os.access(_SHM, os.W_OK) else None


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in memory, if available; removed at the end."""
    folder = Path(tempfile.mkdtemp(dir=memory_folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def blocked_commit(journal: JournalWriter) -> Iterator[list[str]]:
    """Block the commit of the writer, so that calls queue up; yields the statements executed after the block."""
    statements: list[str] = []
    commit_started, commit_released = threading.Event(), threading.Event()

    def trace(statement: str) -> None:
        statements.append(statement)
        if statement == "COMMIT" and not commit_started.is_set():
            commit_started.set()
            assert commit_released.wait(10)

    journal._connection.set_trace_callback(trace)
    journal.submit(lambda store: None)
    assert commit_started.wait(10)
    statements.clear()
    try:
        yield statements
    finally:
        commit_released.set()
