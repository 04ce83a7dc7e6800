"""Files that were copied after a kill without the WAL file that has their latest entries."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from asyncgg.cli import main
from asyncgg.errors import JournalError, SnapshotError
from asyncgg.inventory import Snapshot
from asyncgg.inventory.writer import SnapshotWriter
from asyncgg.journal import JournalReader, JournalStore, JournalWriter
from asyncgg.models import ClientDevice, CoreDevice
from asyncgg.storage import sqlite as storage
from tests.support.journal import (
    ALL_DISASSOCIATED,
    RECORDED_REPLY,
    claim_all,
    create_journal,
    folder_entries,
    make_pairs,
)

THINGS = 1_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of one core."""
    (tmp_path / "run").mkdir()
    create_journal(tmp_path / "run" / "j", make_pairs(1, THINGS))
    return tmp_path / "run" / "j"


def disassociate(count: int) -> Callable[[JournalStore], None]:
    """Claim every pending thing and record the success of `count` batches."""

    def work(store: JournalStore) -> None:
        for batch in claim_all(store, next(store.pending_cores()))[:count]:
            store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY)
        store.mark_interrupted(())

    return work


@contextmanager
def open_journal(path: Path) -> Iterator[JournalWriter]:
    """An open journal that was not closed, as after a kill: its files are copied within the block."""
    journal = JournalWriter(path, threaded=False)
    try:
        yield journal
    finally:
        journal.close()


def copy(path: Path, folder: Path, *suffixes: str) -> Path:
    """Copy the main file, and its side files with these suffixes, into a new folder."""
    folder.mkdir()
    for suffix in ("", *suffixes):
        shutil.copy(f"{path}{suffix}", folder)
    return folder / path.name


def disassociated(path: Path) -> int:
    """The things of a journal that are disassociated."""
    with JournalReader(path) as reader:
        return reader.counts().disassociated


@pytest.mark.parametrize("batches", [0, 3])
@pytest.mark.parametrize("opener", [JournalReader, JournalWriter])
async def test_open_journal_without_wal_fails(
    path: Path, tmp_path: Path, batches: int, opener: type[JournalReader | JournalWriter]
) -> None:
    """The message names the missing file and where it is expected; nothing is created."""
    with open_journal(path) as journal:
        if batches:
            journal.submit(disassociate(batches))
        alone, whole = copy(path, tmp_path / "alone"), copy(path, tmp_path / "whole", "-wal")
    for _ in range(2):  # a first attempt leaves nothing that a second one takes for the WAL file
        with pytest.raises(JournalError) as caught:
            opener(alone)
        assert str(caught.value) == (
            f"{alone} is not complete: its latest entries are in j-wal, which is missing (expected: {alone}-wal);"
            " copy or move both files together, or use the original"
        )
        assert folder_entries(alone) == ["j"]
    assert disassociated(whole) == batches * 100
    assert disassociated(path) == batches * 100


async def test_open_link_to_journal_expects_wal_next_to_target(path: Path, tmp_path: Path) -> None:
    """SQLite looks for the WAL file next to the target of a link."""
    with open_journal(path) as journal:
        journal.submit(disassociate(3))
        whole = copy(path, tmp_path / "whole", "-wal")
    link = tmp_path / "link"
    link.symlink_to(whole)
    assert disassociated(link) == 300
    whole.with_name("j-wal").unlink()
    with pytest.raises(JournalError, match=f"expected: {whole}-wal"):
        JournalReader(link)


async def test_open_journal_merged_by_another_program(path: Path, tmp_path: Path) -> None:
    """A file without a WAL file that has every entry is complete."""
    with open_journal(path) as journal:
        journal.submit(disassociate(3))
        whole = copy(path, tmp_path / "whole", "-wal")
    with closing(sqlite3.connect(whole)) as connection:
        connection.execute("SELECT count(*) FROM core").fetchone()
    assert folder_entries(whole) == ["j"]
    assert disassociated(whole) == 300


async def test_kill_at_any_statement_loses_no_entry(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever statement a kill comes before, the main file alone is refused or has every entry."""
    monkeypatch.setattr(storage, "_CHECKPOINT_AFTER", 4)
    copies: list[tuple[str, Path, Path]] = []

    def trace(statement: str) -> None:
        folder = tmp_path / str(len(copies))
        folder.mkdir()
        copies.append((statement, copy(path, folder / "alone"), copy(path, folder / "whole", "-wal")))

    with open_journal(path) as journal:
        journal._connection.set_trace_callback(trace)
        for _ in range(5):
            journal.submit(disassociate(1))
        journal._connection.set_trace_callback(None)
    assert sum("wal_checkpoint" in statement for statement, *_ in copies) >= 5
    refused = 0
    for _, alone, whole in copies:
        try:
            found = disassociated(alone)
        except JournalError:
            refused += 1
        else:
            assert found == disassociated(whole)
    assert refused >= len(copies) * 0.9  # each checkpoint leaves a mark in the main file


async def test_checkpoints_bound_the_wal_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL file is used again after each checkpoint, also with the commits in a thread."""
    monkeypatch.setattr(storage, "_CHECKPOINT_AFTER", 50)
    journal = JournalWriter(path)
    journal._connection.execute("PRAGMA synchronous = OFF")
    try:
        for number in range(400):  # at least a page of 4 KB each
            await journal.submit(lambda store, number=number: store.put(note=number))  # type: ignore[misc]
        assert path.with_name("j-wal").stat().st_size < 1_000_000
    finally:
        journal.close()


def _record_page(writer: SnapshotWriter) -> None:
    writer.run_now(lambda store: store.put(started_at="1.0"))
    writer.run_now(lambda store: store.add_cores(1, [CoreDevice("c")]))
    writer.run_now(lambda store: store.record_page(1, [ClientDevice("t", None)], "next"))


async def test_open_snapshot_without_wal_fails(tmp_path: Path) -> None:
    """A scan is not repeated from its start because the WAL file of its snapshot was not copied."""
    path = tmp_path / "fleet.db"
    writer = SnapshotWriter(path, threaded=False)
    try:
        _record_page(writer)
        alone, whole = copy(path, tmp_path / "alone"), copy(path, tmp_path / "whole", "-wal")
    finally:
        writer.close()
    for opener in (Snapshot, SnapshotWriter):
        with pytest.raises(SnapshotError, match=r"its latest entries are in fleet.db-wal, which is missing"):
            opener(alone)
    with Snapshot(whole) as snapshot:
        assert [(record.core, record.thing) for record in snapshot.associations()] == [("c", "t")]


@pytest.mark.parametrize("command", [("status",), ("report",), ("resume", "--yes"), ("verify",), ("undo", "--yes")])
def test_command_without_wal_exits_2(
    path: Path, tmp_path: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command refuses the journal in one line instead of reporting that nothing was done."""

    async def run() -> Path:
        with open_journal(path) as journal:
            await journal.submit(disassociate(3))
            return copy(path, tmp_path / "alone")

    alone = asyncio.run(run())
    assert main([command[0], str(alone), *command[1:]]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "which is missing" in lines[0]
