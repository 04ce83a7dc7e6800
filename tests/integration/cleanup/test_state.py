"""The state folder of a policy: locking, names, deletion of old runs, write errors."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from asyncgg.errors import GuardError
from asyncgg.journal import JournalWriter
from asyncgg.run_directory import StateDirectory
from asyncgg.storage import FileLock
from tests.support.cleanup_harness import CleanupHarness, example_facts, read_decisions

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_second_start_aborts(tmp_path: Path) -> None:
    """A second start of the policy exits 4 without a request or folder."""
    harness = CleanupHarness(tmp_path)
    state = StateDirectory(tmp_path / "nightly.state", 30)
    with state.lock():
        report = harness.run_sync()
    assert report.exit == 4
    assert "in use by another run" in report.reason
    assert (harness.steps["read"], harness.run_directories()) == (0, [])
    assert harness.run_sync().exit == 0


def test_old_runs_are_deleted(tmp_path: Path) -> None:
    """Only the newest runs are kept, always including the current one."""
    harness = CleanupHarness(tmp_path, state="[state]\nkeep-runs = 2\n")
    (tmp_path / "nightly.state" / "20990101T000000Z").mkdir(parents=True)
    (tmp_path / "nightly.state" / "notes").mkdir()
    names = [harness.run_sync().run_dir.name for _ in range(3)]  # type: ignore[union-attr]
    assert names == ["20990101T000000Z-2", "20990101T000000Z-3", "20990101T000000Z-4"]
    assert [run_dir.name for run_dir in harness.run_directories()] == names[1:]
    assert (tmp_path / "nightly.state" / "notes").is_dir()
    report = harness.run_sync(dry_run=True)
    assert report.pruned == []
    assert len(harness.run_directories()) == 2


def test_prune_keeps_run_in_use(tmp_path: Path) -> None:
    """A run whose journal is in use is not deleted."""
    state = StateDirectory(tmp_path, 1)
    run_directories = [state.create(at) for at in (1.0, 2.0, 3.0)]
    lock = FileLock(run_directories[0].journal)
    assert state.prune(None) == [run_directories[1].name]
    lock.release()
    assert state.prune(run_directories[0]) == []
    assert state.prune(run_directories[2]) == [run_directories[0].name]


def test_run_names_ascend(tmp_path: Path) -> None:
    """Names of runs ascend even if the clock goes back."""
    state = StateDirectory(tmp_path, 30)
    names = [state.create(at).name for at in (86_400.0, 86_400.0, 0.0, 172_800.0)]
    assert names == ["19700102T000000Z", "19700102T000000Z-2", "19700102T000000Z-3", "19700103T000000Z"]
    last = state.latest()
    assert last is not None
    assert last.name == names[-1]


def test_relative_policy_path_state_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of a relative policy path has an absolute path."""
    (tmp_path / "policies").mkdir()
    harness = CleanupHarness(tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    harness.folder, folder = Path("policies"), harness.folder
    report = harness.run_sync()
    assert report.run_dir is not None
    assert report.run_dir.folder.is_absolute()
    assert report.run_dir.folder.parent == folder / "nightly.state"


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, 2), (errno.ENOSPC, 1)])
def test_unwritable_state_folder_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """A missing permission is a usage error, a full disk is not."""
    harness = CleanupHarness(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    report = harness.run_sync()
    assert report.exit == code
    assert report.reason == f"{tmp_path}/nightly.state: cannot write the state of the policy: {os.strerror(number)}"


def test_state_folder_is_file_exits_2(tmp_path: Path) -> None:
    """A file in place of the state folder is a usage error."""
    harness = CleanupHarness(tmp_path)
    (tmp_path / "nightly.state").write_text("")
    report = harness.run_sync()
    assert (report.exit, report.run_dir) == (2, None)
    assert report.reason.endswith("nightly.state: cannot write the state of the policy: File exists")


def test_lock_excludes_same_process(tmp_path: Path) -> None:
    """The lock excludes a second holder in the same process until it is released."""
    state = StateDirectory(tmp_path, 30)
    with state.lock(), pytest.raises(GuardError, match="in use"), state.lock():
        pass
    with state.lock():
        pass


def test_second_run_decides_about_new_associations(tmp_path: Path) -> None:
    """A second run removes only what was associated since the first."""
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


async def test_finished_run_is_unlocked(tmp_path: Path) -> None:
    """The journal of a finished run is not locked."""
    harness = CleanupHarness(tmp_path, facts=example_facts(1, 10))
    report = await harness.run()
    assert report.run_dir is not None
    JournalWriter(report.run_dir.journal, threaded=False).close()
