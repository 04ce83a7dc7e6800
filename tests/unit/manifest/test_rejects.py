"""Rule: the file of refused rows."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.manifest import BadRow, RejectsWriter


def read_rows(path: Path) -> list[list[str]]:
    """The file as its rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_rows_come_back(tmp_path: Path) -> None:
    """What is written is a CSV with the four columns, quotes and other characters unharmed."""
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


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """The name never shows half a file, nothing else stays behind, and no bad rows replace an older run's."""
    file = tmp_path / "rejects.csv"
    file.write_text("old")
    with RejectsWriter(file):
        assert file.read_text() == "old"
    assert read_rows(file) == [["file", "line", "reason", "raw"]]
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_keeps_the_rows(tmp_path: Path) -> None:
    """The rows that stopped a run are written even though it was stopped by an error."""
    file = tmp_path / "rejects.csv"

    def stopped() -> None:
        with RejectsWriter(file) as writer:
            writer.write([BadRow("fleet.csv", 2, "thing is empty", "a,")])
            raise UsageError("bad rows")

    with pytest.raises(UsageError, match="bad rows"):
        stopped()
    assert len(read_rows(file)) == 2


def test_inputs_are_not_overwritten(tmp_path: Path) -> None:
    """The manifest is refused as the place for its rejects, under another name and as a link too."""
    manifest = tmp_path / "fleet.csv"
    manifest.write_text("core,thing\na,b\n")
    link = tmp_path / "link.csv"
    link.symlink_to(manifest)
    for path in (manifest, link, tmp_path / "." / "fleet.csv"):
        with pytest.raises(UsageError, match="would overwrite the input"):
            RejectsWriter(path, inputs=["-", "s3://bucket/key.csv", str(manifest)])
    assert manifest.read_text() == "core,thing\na,b\n"


def test_a_link_is_followed(tmp_path: Path) -> None:
    """A link stays a link, its target gets the rows."""
    target, link = tmp_path / "target.csv", tmp_path / "rejects.csv"
    link.symlink_to(target)
    RejectsWriter(link).close()
    assert link.is_symlink()
    assert read_rows(target) == [["file", "line", "reason", "raw"]]


def test_a_device_is_written_to_not_replaced(tmp_path: Path) -> None:
    """A device such as /dev/null stays what it is, with no file beside it."""
    with RejectsWriter(os.devnull) as writer:
        writer.write([BadRow("fleet.csv", 2, "thing is empty", "a,")])
    assert Path(os.devnull).is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("count", [1, 10_000])
def test_full_disk_is_one_sentence(count: int) -> None:
    """A full disk is said, not swallowed, whether it shows while writing or at the end."""

    def fill() -> None:
        with RejectsWriter("/dev/full") as writer:
            writer.write([BadRow("fleet.csv", 2, "thing is empty", "a,")] * count)

    with pytest.raises(UsageError, match=r"^/dev/full: the rejects cannot be written: No space left on device$"):
        fill()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("none/rejects.csv", "cannot be written: No such file or directory"), (".", "is a directory")],
)
def test_unwritable_place_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, sentence: str
) -> None:
    """A place that cannot be written is said at once, not after the run."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        RejectsWriter(path)
