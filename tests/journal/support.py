"""Rule: what the journal's tests share: making a journal, claiming from it, looking into the file behind its back."""

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
from asyncgg.model import ThingState

ANSWER = RecordedReply(1234.5, "accepted", 200, "", "aws-1")
DONE = BatchResult(ReplyVerdict.ACCEPTED, ThingState.DISASSOCIATED, counts_as_attempt=True)
_SHM = Path("/dev/shm")


def fleet(cores: int, things: int) -> list[tuple[str, str]]:
    """Pairs of `cores` cores with `things` things each."""
    return [(f"core-{core:03}", f"thing-{number:05}") for core in range(cores) for number in range(things)]


def make(
    path: Path, pairs: Iterable[tuple[str, str]] = (("c", "a"),), meta: Mapping[str, str] | None = None
) -> ImportSummary:
    """A finished journal at `path`."""
    importer = Importer(path)
    importer.add(list(pairs))
    return importer.finish(meta or {})


def claim_all(store: JournalStore, work: CoreQueue) -> list[Batch]:
    """Claim everything pending of one core in full batches."""
    batches, left = [], work.unsent
    while left:
        limit = min(100, left)
        batches.append(store.claim(Claim(work, work.first, work.last, limit), now=1000.0))
        left -= limit
    return batches


def failed(batch: Batch, code: str = "AccessDenied", message: str = "no") -> BatchResult:
    """The settlement in which every thing of `batch` fails."""
    odd = tuple(ThingResult(index, ThingState.FAILED, code, message) for index in range(len(batch.ids)))
    return BatchResult(ReplyVerdict.ACCEPTED, ThingState.DISASSOCIATED, counts_as_attempt=True, overrides=odd)


def look(path: Path, query: str, *values: object) -> list[Any]:
    """What another process would read from the file now."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(query, values).fetchall()


def beside(path: Path) -> list[str]:
    """The names in the journal's folder."""
    return sorted(entry.name for entry in path.parent.iterdir())


def memory() -> Path | None:
    """A place in memory for folders, where there is one: for tests of many journals, none of them about the disk."""
    return _SHM if os.access(_SHM, os.W_OK) else None


@contextlib.contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in `memory`, removed afterwards."""
    folder = Path(tempfile.mkdtemp(dir=memory()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def held(journal: JournalWriter) -> Iterator[list[str]]:
    """The writer's commit stands still within, so that calls gather; the list names what its connection did then."""
    statements: list[str] = []
    inside, free = threading.Event(), threading.Event()

    def note(statement: str) -> None:
        statements.append(statement)
        if statement == "COMMIT" and not inside.is_set():
            inside.set()
            assert free.wait(10)

    journal._connection.set_trace_callback(note)
    journal.submit(lambda store: None)
    assert inside.wait(10)
    statements.clear()
    try:
        yield statements
    finally:
        free.set()
