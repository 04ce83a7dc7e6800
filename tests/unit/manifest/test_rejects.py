"""Tests of the file of bad rows."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.manifest import BadRow, RejectsWriter


def read_rows(path: Path) -> list[list[str]]:
    """The rows of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_rejects_writer_writes_csv(tmp_path: Path) -> None:
    """The file is a CSV with four columns; quotes and other characters are preserved."""
    file = tmp_path / "rejects.csv"
    with RejectsWriter(file) as writer:
        writer.write([BadRow("fleet.csv", 2, "thing is empty", 'a,"ä"\\n')])
        writer.write([BadRow("fleet.csv", 9, "core is empty", ",")])
    assert writer.count == 2
    assert read_rows(file) == [
        ["file", "line", "reason", "raw"],
        ["fleet.csv", "2", "thing is empty", 'a,"ä"\\n'],
        ["fleet.csv", "9", "core is empty", ","],
    ]


def test_rejects_writer_replaces_an_older_file_on_close(tmp_path: Path) -> None:
    """The path never has a partial file, no other file remains, and the older rows go."""
    file = tmp_path / "rejects.csv"
    file.write_text("old")
    with RejectsWriter(file):
        assert file.read_text() == "old"
    assert read_rows(file) == [["file", "line", "reason", "raw"]]
    assert list(tmp_path.iterdir()) == [file]


def test_rejects_writer_keeps_rows_after_an_error(tmp_path: Path) -> None:
    """The rows that stopped a run are written although an error is raised."""
    file = tmp_path / "rejects.csv"

    def stop() -> None:
        with RejectsWriter(file) as writer:
            writer.write([BadRow("fleet.csv", 2, "thing is empty", "a,")])
            raise UsageError("bad rows")

    with pytest.raises(UsageError, match="bad rows"):
        stop()
    assert len(read_rows(file)) == 2


def test_rejects_writer_follows_a_link(tmp_path: Path) -> None:
    """A link remains a link; its target gets the rows."""
    target, link = tmp_path / "target.csv", tmp_path / "rejects.csv"
    link.symlink_to(target)
    RejectsWriter(link).close()
    assert link.is_symlink()
    assert read_rows(target) == [["file", "line", "reason", "raw"]]


def test_rejects_writer_writes_to_a_device(tmp_path: Path) -> None:
    """A device such as /dev/null is not replaced."""
    with RejectsWriter(os.devnull) as writer:
        writer.write([BadRow("fleet.csv", 2, "thing is empty", "a,")])
    assert Path(os.devnull).is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("count", [1, 10_000])
def test_rejects_writer_full_disk_raises(count: int) -> None:
    """A full disk is an error, while writing or at the end."""

    def fill() -> None:
        with RejectsWriter("/dev/full") as writer:
            writer.write([BadRow("fleet.csv", 2, "thing is empty", "a,")] * count)

    with pytest.raises(UsageError, match=r"^/dev/full: cannot write the file: No space left on device$"):
        fill()


@pytest.mark.parametrize(
    ("path", "message"),
    [("none/rejects.csv", "cannot write the file: No such file or directory"), (".", "is a directory")],
)
def test_rejects_writer_unwritable_path_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    """A path that cannot be written is an error before the run."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        RejectsWriter(path)
