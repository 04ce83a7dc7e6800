"""The lock of a journal: one process at a time, and none after the process ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncgg.errors import JournalError
from asyncgg.journal import JournalReader, JournalWriter
from asyncgg.models import RunState
from asyncgg.storage import FileLock, LockHeldError, is_locked
from tests.support.journal import create_journal, folder_entries, make_pairs

HOLDER_SCRIPT = """
import asyncio, sys, time
from pathlib import Path
from asyncgg.batching import Claim
from asyncgg.journal import JournalWriter

async def main():
    journal = JournalWriter(Path(sys.argv[1]))
    def claim(store):
        store.put(state="running")
        queue = next(store.pending_cores())
        store.claim(Claim(queue, queue.first, queue.last, 7), time.time())
    await journal.submit(claim)
    print("claimed", flush=True)
    sys.stdin.read()
    journal.close()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of one core with 20 things."""
    create_journal(tmp_path / "j", make_pairs(1, 20))
    return tmp_path / "j"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the journal and has claimed seven things."""
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER_SCRIPT, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "claimed\n"
            yield process
        finally:
            process.kill()


def test_lock_held_by_other_process_fails(path: Path, holder: subprocess.Popen[str]) -> None:
    """The message has the id of the process that runs the journal; reading works."""
    with pytest.raises(JournalError) as caught:
        JournalWriter(path)
    assert str(caught.value) == f"{path} is in use by another process ({holder.pid}); wait until it exits, or stop it"
    assert isinstance(caught.value.__cause__, LockHeldError)
    assert caught.value.__cause__.pid == holder.pid
    assert is_locked(path)
    with JournalReader(path) as reader:
        assert reader.state() is RunState.RUNNING
        assert reader.counts().sent == 1


def test_lock_through_symbolic_link_is_the_same(path: Path, holder: subprocess.Popen[str]) -> None:
    """The lock is found through a symbolic link in another folder."""
    folder = path.parent / "elsewhere"
    folder.mkdir()
    link = folder / "other"
    link.symlink_to(path)
    assert is_locked(link)
    with pytest.raises(JournalError, match=rf"in use by another process \({holder.pid}\)"):
        JournalWriter(link)
    assert folder_entries(link) == ["other"]


def test_lock_of_ended_process_is_removed(path: Path, holder: subprocess.Popen[str]) -> None:
    """After an orderly end there is no lock file."""
    holder.communicate(input="")
    assert holder.returncode == 0
    assert folder_entries(path) == ["j"]
    JournalWriter(path).close()


def test_lock_of_killed_process_is_released(path: Path, holder: subprocess.Popen[str]) -> None:
    """After SIGKILL the journal can be run at once; its claims are ambiguous."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (path.parent / "j.lock").exists()
    assert not is_locked(path)
    with JournalReader(path) as reader:
        assert reader.state() is RunState.INTERRUPTED
    journal = JournalWriter(path, threaded=False)
    try:
        assert journal.recovered == 7
        (number,) = journal._connection.execute("SELECT count(*) FROM thing WHERE state = 0 AND ambiguous").fetchone()
        assert number == 7
    finally:
        journal.close()
    assert folder_entries(path) == ["j"]


@pytest.mark.parametrize("content", ["", "1", "999999999", "not a number\n" * 10])
def test_lock_stale_file_is_ignored(path: Path, content: str) -> None:
    """A lock file without a holder has no effect, whatever its content."""
    (path.parent / "j.lock").write_text(content)
    assert not is_locked(path)
    journal = JournalWriter(path)
    assert is_locked(path)
    assert (path.parent / "j.lock").read_text() == str(os.getpid())
    journal.close()
    assert not is_locked(path)


def test_lock_twice_in_one_process_fails(path: Path) -> None:
    """A second writer in the same process fails as in another process."""
    journal = JournalWriter(path)
    with pytest.raises(JournalError, match=rf"in use by another process \({os.getpid()}\)"):
        JournalWriter(path)
    journal.close()
    JournalWriter(path).close()


def test_lock_retries_while_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A concurrent `is_locked` does not make a start fail."""
    lock = FileLock(path)
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        lock.release()

    monkeypatch.setattr("asyncgg.storage.lock.time.sleep", sleep)
    FileLock(path).release()
    assert len(sleeps) == 1
    lock.release()  # a second call does nothing


def test_lock_file_removed_meanwhile_is_retried(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock on a file that its last holder removed is acquired again."""
    lock_file = path.parent / "j.lock"
    genuine = os.open
    opened: list[int] = []

    def open_and_unlink(name: Path, *rest: int) -> int:
        handle = genuine(name, *rest)
        if name == lock_file:
            opened.append(handle)
            if len(opened) < 3:
                lock_file.unlink()
            if len(opened) == 2:
                lock_file.write_text("1")  # another process has created the next one
        return handle

    monkeypatch.setattr("asyncgg.storage.lock.os.open", open_and_unlink)
    lock = FileLock(path)
    monkeypatch.undo()
    assert len(opened) == 3
    assert is_locked(path)
    lock.release()
    assert not lock_file.exists()


def test_lock_contended_has_one_holder(path: Path) -> None:
    """Threads that contend for the lock never hold it together."""
    inside, worst, acquired = 0, 0, 0
    guard = threading.Lock()
    errors: list[str] = []

    def contend() -> None:
        nonlocal inside, worst, acquired
        for _ in range(40):
            try:
                lock = FileLock(path)
            except LockHeldError:
                continue
            except OSError as error:
                errors.append(str(error))
                continue
            with guard:
                inside += 1
                worst = max(worst, inside)
                acquired += 1
            with guard:
                inside -= 1
            lock.release()

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert worst == 1
    assert acquired >= 40
    assert not (path.parent / "j.lock").exists()


async def test_close_in_cancelled_task_releases_lock(path: Path) -> None:
    """The close blocks, so a cancelled task releases the lock."""

    async def run() -> None:
        journal = JournalWriter(path)
        opened.set()
        try:
            await asyncio.sleep(60)
        finally:
            journal.close()

    opened = asyncio.Event()
    task = asyncio.create_task(run())
    await opened.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not is_locked(path)
