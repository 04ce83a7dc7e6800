"""Tests of asyncgg.files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text


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
