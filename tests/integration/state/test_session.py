"""Tests of `asyncgg.state.session`: what is saved and restored, and what stops the sending."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncgg.batching import Claim
from asyncgg.errors import AsyncggError, GuardError, JournalError, LeaseLostError, StateWriteError
from asyncgg.journal import JournalReader, JournalWriter
from asyncgg.models import ThingState
from asyncgg.state import StateSession, open_store, read_state
from tests.integration.state.conftest import CONNECTION
from tests.support.journal import ALL_DISASSOCIATED, RECORDED_REPLY, create_journal, make_pairs, query_file

LEASE = 4.0
"""Seconds; requests may be sent for 3 s after each renewal."""
THINGS = 250


def open_session(location: Path | str, **options: Any) -> StateSession:
    """A session with a short lease."""
    return StateSession(str(location), CONNECTION, **{"lease_seconds": LEASE, "interval": 0.05, **options})


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for the thread of a session."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def document_of(share: Path) -> dict[str, Any]:
    """The current document of a state in a folder."""
    document: dict[str, Any] = json.loads(max(share.glob("state-*.json")).read_bytes())
    return document


def edit_document(share: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the current document of a state in a folder."""
    document = document_of(share)
    change(document)
    max(share.glob("state-*.json")).write_text(json.dumps(document))


def crash(share: Path, copy: Path) -> None:
    """Copy a state as a crash of its process leaves it, when its lease has expired."""
    shutil.copytree(share, copy)
    for path in copy.glob("state-*.json"):
        os.utime(path, (0, 0))


def ambiguous_things(journal: Path) -> int:
    """How many things were possibly sent."""
    return int(query_file(journal, "SELECT count(*) FROM thing WHERE state = 0 AND ambiguous = 1")[0][0])


@contextlib.contextmanager
def running(location: Path | str, **options: Any) -> Iterator[tuple[StateSession, JournalWriter]]:
    """A session with a journal that is run."""
    with open_session(location, **options) as session:
        run = session.create_run()
        create_journal(run.journal, make_pairs(1, THINGS))
        with contextlib.closing(JournalWriter(run.journal, threaded=False)) as journal:
            yield session, journal


async def send_one(journal: JournalWriter, *, reply: bool) -> None:
    """Claim a batch, and record its reply."""
    (queue,) = await journal.submit(lambda store: list(store.pending_cores()))
    claim = Claim(queue, queue.first, queue.last, min(100, queue.unsent))
    batch = await journal.submit(lambda store: store.claim(claim, 1000.0))
    if reply:
        await journal.submit(lambda store: store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY))


async def test_next_session_has_what_was_saved(location: str) -> None:
    """The newest run is restored on another host, with a summary next to its journal."""
    with running(location) as (session, journal):
        await send_one(journal, reply=True)
        name = session.latest()
    assert name is not None
    assert not session.folder.exists()
    with open_session(location) as restored:
        run = restored.latest()
        assert run is not None
        assert run.name == name.name
        with JournalReader(run.journal) as reader:
            assert reader.counts().disassociated == 100
            assert reader.counts().pending == THINGS - 100
        assert ambiguous_things(run.journal) == 0
        summary = json.loads((run.folder / "summary.json").read_text())
        assert summary["things"]["disassociated"] == 100


async def test_crash_while_sending_makes_everything_pending_ambiguous(tmp_path: Path) -> None:
    """A copy from before a crash says nothing about what was sent after it."""
    with running(tmp_path / "share") as (session, journal):
        await send_one(journal, reply=True)
        await session.begin_sending(lambda reason: None)
        assert session.may_send()
        await send_one(journal, reply=False)
        crash(tmp_path / "share", tmp_path / "crashed")
    with open_session(tmp_path / "crashed") as restored:
        run = restored.latest()
        assert run is not None
        assert ambiguous_things(run.journal) == THINGS - 100
    # The marks are part of the next save, so that they are not lost by a session that sends nothing.
    with open_session(tmp_path / "crashed") as restored:
        run = restored.latest()
        assert run is not None
        assert ambiguous_things(run.journal) == THINGS - 100


async def test_crash_after_the_end_of_sending_makes_only_claims_ambiguous(tmp_path: Path) -> None:
    """What is saved at SIGTERM is exact, although requests are still in flight."""
    with running(tmp_path / "share", interval=3600.0) as (session, journal):
        await session.begin_sending(lambda reason: None)
        await send_one(journal, reply=True)
        await send_one(journal, reply=False)
        session.end_sending()
        assert not session.may_send()
        await asyncio.to_thread(wait_until, lambda: document_of(tmp_path / "share")["clean"])
        crash(tmp_path / "share", tmp_path / "crashed")
    with open_session(tmp_path / "crashed") as restored:
        run = restored.latest()
        assert run is not None
        JournalWriter(run.journal, threaded=False).close()  # recovers the claims
        assert ambiguous_things(run.journal) == 100


async def test_begin_sending_saves_first(tmp_path: Path) -> None:
    """Before the first request the state has the journal."""
    with running(tmp_path / "share", interval=3600.0) as (session, _):
        assert not session.may_send()
        await session.begin_sending(lambda reason: None)
        document = document_of(tmp_path / "share")
        assert [name.partition("/")[2] for name in document["files"]] == ["run.journal", "summary.json"]
        assert document["clean"] is False


async def test_interval_saves_what_changed(tmp_path: Path) -> None:
    """During a run its journal is saved again, and the older copy is deleted."""
    share = tmp_path / "share"
    with running(share) as (session, journal):
        await session.begin_sending(lambda reason: None)
        await send_one(journal, reply=True)

        def is_saved() -> bool:
            with contextlib.suppress(FileNotFoundError), read_state_of(share) as path, JournalReader(path) as reader:
                return reader.counts().disassociated == 100
            return False  # replaced meanwhile

        await asyncio.to_thread(wait_until, is_saved)
        await asyncio.to_thread(wait_until, lambda: len(list(share.glob("files/*/*"))) == 2)


@contextlib.contextmanager
def read_state_of(share: Path) -> Iterator[Path]:
    """A copy of the saved journal that the document names; an older one may not be deleted yet."""
    files = document_of(share)["files"].items()
    (key,) = (saved["key"] for name, saved in files if name.endswith("/run.journal"))
    copy = share.parent / "copy.journal"
    shutil.copyfile(share / key, copy)
    yield copy


def test_second_session_raises_while_the_first_is_open(location: str) -> None:
    """One process runs a state at a time."""
    with open_session(location, lease_seconds=2.5), pytest.raises(GuardError, match="in use"):
        open_session(location).__enter__()
    with open_session(location):
        pass


def test_old_runs_are_deleted(tmp_path: Path) -> None:
    """The state keeps the newest runs, and restores only the last one."""
    names = []
    for _ in range(4):
        with open_session(tmp_path / "share", keep_runs=2) as session:
            run = session.create_run()
            create_journal(run.journal)
            names.append(run.name)
    assert sorted(path.name for path in (tmp_path / "share" / "files").iterdir() if any(path.iterdir())) == names[2:]
    with open_session(tmp_path / "share", keep_runs=2) as session:
        latest = session.latest()
        assert latest is not None
        assert latest.name == names[3]
        assert len(list(session.folder.glob("*/run.journal"))) == 1
    assert {name.partition("/")[0] for name in document_of(tmp_path / "share")["files"]} == set(names[2:])


@pytest.mark.parametrize("name", ["../x/run.journal", "a/../../x", "run.journal", "a/b/c", "a/..", "/etc/passwd", ""])
def test_name_that_leads_out_of_the_folder_raises(tmp_path: Path, name: str) -> None:
    """A document cannot make a session write elsewhere; the lease is released."""
    with running(tmp_path / "share"):
        pass
    edit_document(
        tmp_path / "share", lambda document: document["files"].update({name: next(iter(document["files"].values()))})
    )
    for _ in range(2):
        with pytest.raises(JournalError, match="invalid name"):
            open_session(tmp_path / "share").__enter__()
    assert document_of(tmp_path / "share")["holder"] is None


@pytest.mark.parametrize("damage", ["missing", "changed", "cut"])
def test_damaged_file_raises(tmp_path: Path, damage: str) -> None:
    """A file that is not the saved one is never run."""
    with running(tmp_path / "share"):
        pass
    (path,) = (tmp_path / "share").glob("files/*/run.journal*")
    if damage == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(JournalError, match=r"run\.journal"):
        open_session(tmp_path / "share").__enter__()
    with pytest.raises(JournalError, match=r"run\.journal"), read_state(str(tmp_path / "share"), CONNECTION):
        pass


def test_read_state_without_a_run_raises(tmp_path: Path) -> None:
    """An empty state has nothing to show."""
    with pytest.raises(JournalError, match="no saved run"), read_state(str(tmp_path / "share"), CONNECTION):
        pass


async def test_takeover_stops_the_sending(tmp_path: Path) -> None:
    """The first process cannot save what it knows, and keeps its files."""
    share = tmp_path / "share"
    messages: list[str] = []
    reasons: list[str] = []
    with running(share, on_message=messages.append) as (session, _):
        await session.begin_sending(reasons.append)
        async with open_store(str(share), CONNECTION) as store:
            stored = await store.read_document()
            assert stored is not None
            document = json.loads(stored.data)
            document["holder"]["owner"] = "another host"
            while True:
                with contextlib.suppress(StateWriteError):
                    await store.replace_document(json.dumps(document).encode(), stored.version)
                    break
                stored = await store.read_document()
                assert stored is not None
        await asyncio.to_thread(wait_until, lambda: reasons)
        assert not session.may_send()
        with pytest.raises(LeaseLostError):
            await session.begin_sending(reasons.append)
    assert document_of(share)["holder"]["owner"] == "another host"
    assert session.folder.exists()
    assert str(session.folder) in messages[-1]
    shutil.rmtree(session.folder.parent)


async def test_saves_that_fail_stop_the_sending_and_leaving_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose journal cannot be saved any more ends before it has sent much."""
    monkeypatch.setattr("asyncgg.state.keeper._FINAL_SAVE_TIMEOUT", 0.3)
    share, reasons, messages = tmp_path / "share", list[str](), list[str]()
    session = open_session(share, on_message=messages.append)
    with pytest.raises(StateWriteError) as caught, session:  # noqa: PT012 - leaving raises
        run = session.create_run()
        create_journal(run.journal, make_pairs(2, 100))
        with contextlib.closing(JournalWriter(run.journal, threaded=False)) as journal:
            await session.begin_sending(reasons.append)
            shutil.rmtree(share / "files")
            (share / "files").write_text("in the way")
            while not reasons:
                await journal.submit(lambda store: store.put(changed=time.time()))
                await asyncio.sleep(0.02)
            assert not session.may_send()
    assert "could not be saved" in reasons[0]
    assert str(session.folder) in caught.value.__notes__[0]
    assert (session.folder / run.name / "run.journal").exists()
    shutil.rmtree(session.folder.parent)


def test_working_folder_that_is_deleted_does_not_delete_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cleaner of temporary files must not empty the state."""
    monkeypatch.setattr("asyncgg.state.keeper._FINAL_SAVE_TIMEOUT", 0.1)
    with running(tmp_path / "share"):
        pass
    before = document_of(tmp_path / "share")["files"]
    with pytest.raises(AsyncggError), open_session(tmp_path / "share", interval=3600.0) as session:
        shutil.rmtree(session.folder)
    assert document_of(tmp_path / "share")["files"] == before


def test_session_of_an_unusable_location_raises_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error on entering is raised there, and no temporary folder remains."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(AsyncggError, match="file"):
        open_session(tmp_path / "file").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_thing_states_survive(tmp_path: Path) -> None:
    """Every thing of the restored journal has the state that it had."""
    with running(tmp_path / "share"):
        pass
    with read_state(str(tmp_path / "share"), CONNECTION) as (document, run), JournalReader(run.journal) as reader:
        assert document.holder is None
        assert [row.state for row in reader.outcomes()] == [ThingState.PENDING] * THINGS
