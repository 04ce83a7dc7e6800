"""Tests of asyncgg.files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncgg.errors import SettingsError, UsageError
from asyncgg.files import atomic_write_text, parse_json_object, read_toml


def test_atomic_write_text_writes_to_a_pipe() -> None:
    """As `--markdown /dev/stdout | less`: the file behind the name has no path of its own."""
    reading, writing = os.pipe()
    with atomic_write_text(Path(f"/dev/fd/{writing}")) as file:
        file.write("text\n")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "text\n"


def _failing_lines() -> Iterator[str]:
    yield "new"
    raise ValueError("not a text")


def test_atomic_write_text_keeps_the_file_after_an_error(tmp_path: Path) -> None:
    """A block that fails leaves the old file, and nothing else."""
    path = tmp_path / "report.md"
    path.write_text("old")
    with pytest.raises(ValueError, match="not a text"), atomic_write_text(path) as file:
        file.writelines(_failing_lines())
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("report.md", "old")]
    with pytest.raises(UsageError, match="would overwrite the journal"), atomic_write_text(path, path):
        pass


@pytest.mark.parametrize("text", ["a = " + "[" * 5000 + "]" * 5000, "a = " + "9" * 5000])
def test_read_toml_reports_what_python_cannot_hold(tmp_path: Path, text: str) -> None:
    """Thousands of brackets or digits are invalid TOML."""
    (path := tmp_path / "a.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"a\.toml: invalid TOML: nested too deeply"):
        read_toml(path, "settings file")
    assert parse_json_object(b'{"a":' + b"[" * 200_000) == {}


def test_read_toml_of_a_file_without_end_raises() -> None:
    """A device is not read until the memory is full."""
    with pytest.raises(SettingsError, match="/dev/zero: larger than 64 MiB; this is not a targets file"):
        read_toml(Path("/dev/zero"), "targets file")


def test_atomic_write_text_replaces_a_loop_of_links(tmp_path: Path) -> None:
    """A link to itself has no target that could be kept."""
    (path := tmp_path / "report.md").symlink_to("report.md")
    with atomic_write_text(path) as file:
        file.write("new")
    assert path.read_text() == "new"
