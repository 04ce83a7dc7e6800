"""Downloads the newest run of a state, to continue or to read it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from asyncgg.errors import JournalError
from asyncgg.run_directory import RunDirectory
from asyncgg.state.document import StateDocument
from asyncgg.state.store import StateStore, open_store
from asyncgg.state.working_folder import WorkingFolder
from asyncgg.transport import ConnectionConfig

_READ_ATTEMPTS: Final = 3


async def download_newest(
    store: StateStore, document: StateDocument, files: WorkingFolder, *, with_journal: bool = False
) -> None:
    """Download the newest run of `document`; `with_journal` as `WorkingFolder.restore_names`.

    Raises `JournalError` if a file is missing or damaged, and as `StateStore`.
    """
    paths = await asyncio.to_thread(files.restore_names, document, with_journal=with_journal)
    for name, path in paths.items():
        try:
            await store.download(document.files[name].key, path)
        except FileNotFoundError:
            raise JournalError(
                f"{store.location}: {name} is missing from the state; restore it from a backup"
            ) from None
        await asyncio.to_thread(files.check, name, document.files[name])


@contextmanager
def read_state(location: str, connection: ConnectionConfig) -> Iterator[tuple[StateDocument, RunDirectory]]:
    """The document of the state at `location` and a copy of its newest run with a journal, also while it is running.

    Raises `JournalError` if the state has no run, and as `StateSession`.
    """

    async def read(root: Path) -> tuple[StateDocument, RunDirectory]:
        async with open_store(location, connection) as store:
            for attempts_remaining in reversed(range(_READ_ATTEMPTS)):
                stored = await store.read_document()
                document = StateDocument() if stored is None else StateDocument.parse(stored.data, location)
                if stored is not None and document.holder is not None and stored.age > document.holder.seconds:
                    document = replace(document, holder=None)
                folder = root / str(attempts_remaining)
                folder.mkdir()
                files = WorkingFolder(folder, keep_runs=1)
                try:
                    await download_newest(store, document, files, with_journal=True)
                except JournalError:  # saved again meanwhile
                    if attempts_remaining:
                        continue
                    raise
                latest = files.runs.latest()
                if latest is None:
                    raise JournalError(f"{location}: no saved run; check the location")
                return document, latest
        raise AssertionError

    with tempfile.TemporaryDirectory(prefix="asyncgg-state-") as root:
        yield asyncio.run(read(Path(root)))
