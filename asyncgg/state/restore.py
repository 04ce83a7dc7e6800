"""Downloads runs of a state, to continue or to read them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncgg.errors import JournalError, UsageError
from asyncgg.files import parse_json_object
from asyncgg.run_directory import RunDirectory
from asyncgg.state.document import StateDocument
from asyncgg.state.store import StateStore, open_store
from asyncgg.state.working_folder import SUMMARY, WorkingFolder
from asyncgg.transport import ConnectionConfig

T = TypeVar("T")
_READ_ATTEMPTS: Final = 3


async def download_run(store: StateStore, document: StateDocument, files: WorkingFolder, run: str) -> RunDirectory:
    """Download a run of `document`, unless it is there.

    Raises `UsageError` if the state has no such run, `JournalError` if a file is missing or damaged,
    and as `StateStore`.
    """
    paths = files.paths(document, run)
    if not paths:
        raise UsageError(f"{store.location}: no run {run!r}; asyncgg runs --state {store.location} lists the runs")
    directory = RunDirectory(files.folder / run)
    if files.is_restored(run):
        return directory
    for name, path in paths.items():
        await _download(store, document, name, path)
        await asyncio.to_thread(files.check, name, document.files[name])
    files.mark_restored(run)
    return directory


async def _download(store: StateStore, document: StateDocument, name: str, path: Path) -> None:
    try:
        await store.download(document.files[name].key, path)
    except FileNotFoundError:
        raise JournalError(f"{store.location}: {name} is missing from the state; restore it from a backup") from None


@contextmanager
def read_state(
    location: str, connection: ConnectionConfig, run: str = ""
) -> Iterator[tuple[StateDocument, RunDirectory]]:
    """The document of the state at `location` and a copy of a run, also while it is running.

    `run` is its name; by default the newest one with a journal. Raises `JournalError` if the state has
    no run, `UsageError` if it has none of this name, and as `StateSession`.
    """

    async def download(store: StateStore, document: StateDocument, folder: Path) -> RunDirectory:
        files = WorkingFolder(folder, keep_runs=1)
        files.create_folders(document)
        directory = await download_run(store, document, files, run or _newest(document, location))
        if not directory.has_journal:
            raise JournalError(f"{location}: run {directory.name} has no journal: it sent nothing")
        return directory

    with tempfile.TemporaryDirectory(prefix="asyncgg-state-") as root:
        yield asyncio.run(_read_consistently(location, connection, Path(root), download))


async def require_saved_run(location: str, connection: ConnectionConfig) -> None:
    """Raise `JournalError` if the state has no run, without creating it as its lease does.

    Other errors as `StateStore`.
    """
    async with open_store(location, connection, create=False) as store:
        _newest(await load_document(store), location)


def read_document(location: str, connection: ConnectionConfig) -> StateDocument:
    """The document of the state at `location`; raises as `StateSession`. An expired holder is left out."""

    async def read() -> StateDocument:
        async with open_store(location, connection, create=False) as store:
            return await load_document(store)

    return asyncio.run(read())


def read_summaries(location: str, connection: ConnectionConfig) -> tuple[StateDocument, dict[str, dict[str, Any]]]:
    """The document of the state at `location`, and by name the saved summary of each run with a journal.

    An unreadable summary is empty.
    Raises `JournalError` if the state has no run, and as `StateSession`.
    """

    async def download(store: StateStore, document: StateDocument, folder: Path) -> dict[str, dict[str, Any]]:
        _newest(document, location)
        summaries = {}
        for run in document.runs(with_journal=True):
            if (name := f"{run}/{SUMMARY}") in document.files:
                await _download(store, document, name, folder / SUMMARY)
                summaries[run] = parse_json_object((folder / SUMMARY).read_bytes())
        return summaries

    with tempfile.TemporaryDirectory(prefix="asyncgg-state-") as root:
        return asyncio.run(_read_consistently(location, connection, Path(root), download))


def _newest(document: StateDocument, location: str) -> str:
    runs = document.runs(with_journal=True)
    if not runs:
        raise JournalError(f"{location}: no saved run; check the location")
    return runs[-1]


async def _read_consistently(
    location: str,
    connection: ConnectionConfig,
    root: Path,
    download: Callable[[StateStore, StateDocument, Path], Awaitable[T]],
) -> tuple[StateDocument, T]:
    """The document and what `download` makes of it; again if the files were replaced meanwhile."""
    async with open_store(location, connection, create=False) as store:
        for attempts_remaining in reversed(range(_READ_ATTEMPTS)):
            document = await load_document(store)
            folder = root / str(attempts_remaining)
            folder.mkdir()
            try:
                return document, await download(store, document, folder)
            except JournalError:
                if not attempts_remaining:
                    raise
    raise AssertionError


async def load_document(store: StateStore) -> StateDocument:
    """The document, empty before the first one; an expired holder is left out. Raises as `StateStore`."""
    stored = await store.read_document()
    document = StateDocument() if stored is None else StateDocument.parse(stored.data, store.location)
    if stored is not None and document.holder is not None and stored.age > document.holder.seconds:
        document = replace(document, holder=None)
    return document
