"""Rule: the journal of a trial is made here: the real thing, but for names nobody has and syncs nobody needs.

Importing ten million names would take a minute. A pack of a hundred equal ones is as good for a trial: what reads them
does the same work, and the scripted service does not look at them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from asyncgg.journal import JournalWriter, schema
from asyncgg.models import MAX_BATCH, RunState
from asyncgg.tuning.models import Workload

__all__ = ["TrialJournals"]

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, by mkdtemp
_PLACEHOLDER_NAMES: Final = " ".join("x" * MAX_BATCH)


class TrialJournals:
    """A folder for trials of one `work`, in memory where the system has such a place; use it as a block."""

    def __init__(self, workload: Workload) -> None:
        self._folder = Path(
            tempfile.mkdtemp(prefix="asyncgg-tune-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)
        )
        self._template = self._folder / "template.journal"
        try:
            _create_template(self._template, workload)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TrialJournals:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def open_journal(self) -> Iterator[JournalWriter]:
        """A fresh journal of the whole work, gone after the block."""
        path = self._folder / "trial.journal"
        shutil.copyfile(self._template, path)
        journal = JournalWriter(path, threaded=False, durable=False)
        try:
            yield journal
        finally:
            journal.close()
            path.unlink(missing_ok=True)


def _create_template(path: Path, workload: Workload) -> None:
    with closing(schema.create(path)) as connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [("run", "trial"), ("state", RunState.PLANNED.value)])
        first = 1
        for number in range(workload.cores):
            batches = workload.batches_for_core(number)
            last = first + batches * MAX_BATCH - 1
            if not batches:
                break
            connection.execute("INSERT INTO core VALUES (?, ?, ?, ?)", (number + 1, f"core-{number + 1}", first, last))
            connection.executemany(
                "INSERT INTO name_block VALUES (?, ?)", [(low, _PLACEHOLDER_NAMES) for low in range(first, last, MAX_BATCH)]
            )
            first = last + 1
        connection.execute("COMMIT")
        schema.finish_import(connection)
