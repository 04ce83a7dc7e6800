"""Tests of which files of a state are saved again."""

from __future__ import annotations

import os
from pathlib import Path

from asyncgg.state.working_folder import WorkingFolder


def saved_names(folder: WorkingFolder) -> list[str]:
    """Save what changed, and return the names."""
    copies = list(folder.copy_changed(lambda name: name, "share", is_running=True))
    folder.mark_saved(copies)
    return [copy.name.rpartition("/")[2] for copy in copies]


def test_file_that_changed_just_now_is_saved_again(tmp_path: Path) -> None:
    """A second change in the same tick of the clock shows neither in time nor in size; an older file is saved once."""
    folder = WorkingFolder(tmp_path, keep_runs=1)
    path = folder.runs.create(0.0).folder / "notes.txt"
    path.write_text("1")
    assert saved_names(folder) == ["notes.txt"]
    status = path.stat()
    path.write_text("2")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert saved_names(folder) == ["notes.txt"]
    os.utime(path, (1.0, 1.0))
    assert [saved_names(folder), saved_names(folder)] == [["notes.txt"], []]
