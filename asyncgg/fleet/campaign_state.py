"""The state of a campaign: where its lanes are kept when several hosts can run them."""

# LOCATION/          the document of the campaign: one location is one campaign
# LOCATION/LANE/     an ordinary state for each lane, with its lease and its journal

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncgg.errors import AsyncggError, JournalError, UsageError
from asyncgg.files import parse_json_object
from asyncgg.fleet.results import LaneResult
from asyncgg.journal import JournalReader
from asyncgg.runs.undo_plan import mark_undone_by
from asyncgg.state import StateDocument, StateKeeper, StateStore, VersionConflictError, lease_seconds, open_client
from asyncgg.state.restore import download_run, load_document
from asyncgg.state.store import open_store
from asyncgg.state.working_folder import SUMMARY, WorkingFolder, copy_file
from asyncgg.storage import remove_file
from asyncgg.transport import ConnectionConfig

T = TypeVar("T")
_SCHEMA: Final = "asyncgg.campaign-state/1"
RESULT: Final = "result.json"
"""The result of the last start of a lane, next to its journal."""
_PARALLEL: Final = 16
"""Lanes that are read or uploaded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignState:
    """The state of a campaign. It has no secrets: every host uses its own credentials for the store."""

    location: str
    """`s3://BUCKET/PREFIX`, or the absolute path of a folder that all hosts have."""
    id: str
    """Unique to the campaign."""
    digest: str
    """Of the rows of the manifest, with their targets."""
    request_timeout: float
    """The longest one of all lanes, in seconds: no request outlives a lease."""
    interval: float = 30.0
    """Seconds between saves."""
    lease: float | None = None
    """Seconds; None: the request timeout and 30 s."""
    profile: str | None = None
    region: str | None = None
    """Of the store, as the AWS SDK."""

    def lane_location(self, name: str) -> str:
        """The state of a lane."""
        return f"{self.location.rstrip('/')}/{name}"

    @property
    def connection(self) -> ConnectionConfig:
        """The connection to the store."""
        return ConnectionConfig(self.profile, self.region, request_timeout=self.request_timeout)

    def keeper(self, name: str, client: Any, folder: Path | None = None) -> StateKeeper:
        """The keeper of a lane; `client` as `open_client`, `folder` for its local copy. Raises `SettingsError`."""
        return StateKeeper(
            self.lane_location(name),
            self.connection,
            lease_seconds=lease_seconds(self.lease, self.request_timeout),
            interval=self.interval,
            keep_runs=1,
            client=client,
            temporary_folder=folder,
        )


async def register_campaign(state: CampaignState, lanes: list[dict[str, Any]]) -> CampaignState:
    """Record the campaign at its location; returns the state with the ID that it has there.

    Raises `UsageError` if the location has another campaign, and as `StateStore`.
    """
    document = {"schema": _SCHEMA, "id": state.id, "digest": state.digest, "lanes": lanes}
    async with open_store(state.location, state.connection) as store:
        try:
            stored = await store.read_document()
            if stored is None:
                await store.replace_document(json.dumps(document, indent=1).encode(), None)
                return state
        except VersionConflictError:  # another shard was faster
            stored = await store.read_document()
        assert stored is not None
        found = parse_json_object(stored.data)
        if any(found.get(key) != document[key] for key in ("schema", "digest", "lanes")):
            raise UsageError(
                f"{state.location} has another campaign, or other targets or another manifest; choose another --state"
            )
        return replace(state, id=str(found["id"]))


async def upload_journals(state: CampaignState, journals: Mapping[str, Path]) -> None:
    """Move the journals of lanes to their states; one whose state has a journal is deleted instead.

    Raises as `StateKeeper`.
    """

    async def upload(client: Any, name: str, path: Path) -> None:
        async with open_store(state.lane_location(name), state.connection, client) as store:
            has_journal = bool((await load_document(store)).files)
        if not has_journal:
            async with state.keeper(name, client) as keeper:
                if keeper.latest() is None:
                    await asyncio.to_thread(copy_file, path, keeper.create_run().journal)
        await asyncio.to_thread(remove_file, path)

    local = {name: path for name, path in journals.items() if path.exists()}
    await for_each_lane(state, local, upload)


async def for_each_lane(
    state: CampaignState, lanes: Mapping[str, Path], work: Callable[[Any, str, Path], Awaitable[T]]
) -> list[T]:
    """The results of `work(client, name, path)` for these lanes, some at once. Raises its first `AsyncggError`."""
    limit = asyncio.Semaphore(_PARALLEL)

    async def run(client: Any, name: str, path: Path) -> T:
        async with limit:
            return await work(client, name, path)

    if not lanes:
        return []
    try:
        async with open_client(state.location, state.connection) as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(client, name, path)) for name, path in lanes.items()]
    except* AsyncggError as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _first(errors: BaseExceptionGroup[AsyncggError]) -> AsyncggError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def mark_saved_runs_undone(state: CampaignState, undo_journals: Mapping[str, Path]) -> list[str]:
    """Record these undos in the saved original runs; returns why that is not possible for some.

    Raises `LeaseHeldError` if a process runs one of them, and as `StateKeeper`.
    """

    async def mark(client: Any, name: str, undo_journal: Path) -> str:
        async with state.keeper(name, client) as keeper:
            run = keeper.latest()
            if run is None or not run.has_journal:
                return f"{keeper.location} has no run of {name} that could mention this undo"
            return await mark_undone_by(undo_journal, run.journal)

    return [warning for warning in await for_each_lane(state, undo_journals, mark) if warning]


# --- reading ---


async def read_saved_results(state: CampaignState, journals: Mapping[str, Path]) -> list[LaneResult]:
    """The present results, as far as they are saved; of a lane that is not uploaded yet that of its journal.

    Downloads the summaries only. Raises as `StateStore`, and `JournalError` for a state that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="asyncgg-results-") as folder:

        async def read(client: Any, name: str, path: Path) -> LaneResult:
            async with open_store(state.lane_location(name), state.connection, client) as store:
                document = await load_document(store)
                files = [file for file in document.files if file.endswith(f"/{SUMMARY}")]
                if not files:
                    return await asyncio.to_thread(read_journal_result, name, path)
                run = max(files).partition("/")[0]
                summary, saved = [
                    await _download_json(store, document, f"{run}/{file}", Path(folder) / f"{name}.{file}")
                    for file in (SUMMARY, RESULT)
                ]
                return _to_result(name, summary, saved, document)

        return await for_each_lane(state, journals, read)


async def _download_json(store: StateStore, document: StateDocument, name: str, path: Path) -> dict[str, Any]:
    if name not in document.files:
        return {}
    try:
        await store.download(document.files[name].key, path)
    except FileNotFoundError:  # saved again meanwhile
        return {}
    return parse_json_object(await asyncio.to_thread(path.read_bytes))


def _to_result(name: str, summary: dict[str, Any], saved: dict[str, Any], document: StateDocument) -> LaneResult:
    try:
        current = LaneResult.from_document(name, summary, running=document.holder is not None and not document.clean)
        if current.state == "running" and not current.running:
            current = replace(current, state="interrupted", reason="its process was lost")
        return current.or_saved(LaneResult.from_dict(saved)) if saved else current
    except (KeyError, TypeError, ValueError):
        raise JournalError(f"the state of {name} has no readable summary; resume the campaign to write it") from None


def read_journal_result(name: str, journal: Path) -> LaneResult:
    """The result of the journal alone; that of a lane without a journal if it is missing."""
    if not journal.exists():
        return LaneResult.without_journal(name, journal)
    with JournalReader(journal) as reader:
        reason = reader.meta().get("reason", "")
        return LaneResult.from_summary(name, reader.summary(), None, reason, running=reader.is_running())


@contextmanager
def saved_journals(state: CampaignState, journals: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Copies of the saved journals of lanes that have one, within the block. Errors as `read_saved_results`.

    A copy is in a folder with the name of its run. A journal that is not uploaded yet is copied as it is.
    """
    with tempfile.TemporaryDirectory(prefix="asyncgg-journals-") as root:

        async def copy(client: Any, name: str, path: Path) -> Path:
            async with open_store(state.lane_location(name), state.connection, client) as store:
                folder = Path(root) / name
                folder.mkdir()
                document = await load_document(store)
                if runs := document.runs(with_journal=True):
                    files = WorkingFolder(folder, keep_runs=1)
                    files.create_folders(document)
                    return (await download_run(store, document, files, runs[-1])).journal
                copied = folder / path.name
                if await asyncio.to_thread(path.exists):
                    await asyncio.to_thread(copy_file, path, copied)
            return copied

        paths = asyncio.run(for_each_lane(state, journals, copy))
        yield {name: path for name, path in zip(journals, paths, strict=True) if path.exists()}
