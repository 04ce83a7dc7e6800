"""Rule: the folder of nights lives here: one start at a time, names, rotation, where it may be and where it cannot."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from asyncgg.cleanup.state import StateDirectory
from asyncgg.errors import GuardError
from asyncgg.journal import JournalWriter
from asyncgg.storage import FileLock
from tests.support.cleanup_harness import CleanupHarness, example_facts, read_decisions

pytestmark = pytest.mark.usefixtures("unsynced")


def test_a_second_start_refuses(tmp_path: Path) -> None:
    """While one process has the policy another one ends with exit 4, having sent and begun nothing."""
    harness = CleanupHarness(tmp_path)
    state = StateDirectory(tmp_path / "nightly.state", 30)
    with state.lock():
        report = harness.run_sync()
    assert report.exit == 4
    assert "in use by another run" in report.reason
    assert (harness.steps["read"], harness.run_directories()) == (0, [])
    assert harness.run_sync().exit == 0


# --- the folder ---


def test_nights_rotate(tmp_path: Path) -> None:
    """Only the newest are kept, tonight's always, also when an older one has a name of the future."""
    harness = CleanupHarness(tmp_path, state="[state]\nkeep-runs = 2\n")
    (tmp_path / "nightly.state" / "20990101T000000Z").mkdir(parents=True)
    (tmp_path / "nightly.state" / "notes").mkdir()
    names = [harness.run_sync().run_dir.name for _ in range(3)]  # type: ignore[union-attr]
    assert names == ["20990101T000000Z-2", "20990101T000000Z-3", "20990101T000000Z-4"]
    assert [night.name for night in harness.run_directories()] == names[1:]
    assert (tmp_path / "nightly.state" / "notes").is_dir()
    report = harness.run_sync(dry_run=True)
    assert report.pruned == []
    assert len(harness.run_directories()) == 2


def test_a_night_that_is_being_run_is_not_removed(tmp_path: Path) -> None:
    """Rotation leaves what somebody resumes by hand."""
    state = StateDirectory(tmp_path, 1)
    run_directories = [state.create(at) for at in (1.0, 2.0, 3.0)]
    lock = FileLock(run_directories[0].journal)
    assert state.prune(None) == [run_directories[1].name]
    lock.release()
    assert state.prune(run_directories[0]) == []
    assert state.prune(run_directories[2]) == [run_directories[0].name]


def test_names_do_not_go_back(tmp_path: Path) -> None:
    """Nights are in the order they were begun, whatever the clock says."""
    state = StateDirectory(tmp_path, 30)
    names = [state.create(at).name for at in (86_400.0, 86_400.0, 0.0, 172_800.0)]
    assert names == ["19700102T000000Z", "19700102T000000Z-2", "19700102T000000Z-3", "19700103T000000Z"]
    last = state.latest()
    assert last is not None
    assert last.name == names[-1]


def test_the_state_does_not_depend_on_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy given by a relative path has its state beside it; the journal finds its snapshot from anywhere."""
    (tmp_path / "policies").mkdir()
    harness = CleanupHarness(tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    harness.folder, folder = Path("policies"), harness.folder
    report = harness.run_sync()
    assert report.run_dir is not None
    assert report.run_dir.folder.is_absolute()
    assert report.run_dir.folder.parent == folder / "nightly.state"


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, 2), (errno.ENOSPC, 1)])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """A state folder without permission is wrong usage, a full disk is not; each in one line."""
    harness = CleanupHarness(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    report = harness.run_sync()
    assert report.exit == code
    assert report.reason == f"{tmp_path}/nightly.state: cannot write the state of the policy: {os.strerror(number)}"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    """A state folder that is a file is wrong usage, in one line."""
    harness = CleanupHarness(tmp_path)
    (tmp_path / "nightly.state").write_text("")
    report = harness.run_sync()
    assert (report.exit, report.run_dir) == (2, None)
    assert report.reason.endswith("nightly.state: cannot write the state of the policy: File exists")


def test_alone_is_alone(tmp_path: Path) -> None:
    """Two in one process exclude each other, too, and the second may begin when the first has ended."""
    state = StateDirectory(tmp_path, 30)
    with state.lock(), pytest.raises(GuardError, match="in use"), state.lock():
        pass
    with state.lock():
        pass


def test_every_night_is_decided_by_itself(tmp_path: Path) -> None:
    """Two nights in a row: the second finds what has come since, and only that."""
    harness = CleanupHarness(tmp_path)
    assert harness.run_sync().exit == 0
    now = time.time()
    harness.service.fleet.associate("core-1", "tmp-new", now)
    report = harness.run_sync()
    assert report.exit == 0
    assert report.summary is not None
    assert report.summary.disassociated == 1
    assert report.run_dir is not None
    assert read_decisions(report.run_dir)["core-1", "tmp-new"][0] == "selected"
    assert len(harness.run_directories()) == 2


async def test_the_lock_outlives_no_journal(tmp_path: Path) -> None:
    """Nothing of a finished night is locked: a person can retry or undo it in the morning."""
    harness = CleanupHarness(tmp_path, facts=example_facts(1, 10))
    report = await harness.run()
    assert report.run_dir is not None
    JournalWriter(report.run_dir.journal, threaded=False).close()
