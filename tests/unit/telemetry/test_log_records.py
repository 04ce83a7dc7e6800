"""Tests of the form of log records and of the files they go to."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.telemetry.log_records import JsonFormatter, TextFormatter, check_log_path


def make_record(text: str, **extra: object) -> logging.LogRecord:
    """A record with extra fields."""
    record = logging.getLogger("asyncgg.run").makeRecord(
        "asyncgg.run", logging.INFO, "", 0, "%s", (text,), None, None, extra
    )
    record.created = 0.0
    return record


def test_json_record_has_text_and_extra_fields() -> None:
    """The extra fields are members next to time, level, logger and message."""
    assert json.loads(JsonFormatter().format(make_record("text", core="a", path=Path("x")))) == {
        "at": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "logger": "asyncgg.run",
        "message": "text",
        "core": "a",
        "path": "x",
    }


def test_text_record_has_no_control_characters() -> None:
    """What a service sends cannot forge a line or control a terminal."""
    line = TextFormatter().format(make_record("a\nb\x1b[2J"))
    assert line == r"1970-01-01T00:00:00.000Z INFO asyncgg.run a\nb\x1b[2J"


@pytest.mark.parametrize("content", [b"core,thing\na,b\n", b"SQLite format 3\0", b"\x1f\x8b"])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    """A manifest, a journal or a compressed file is not extended by log lines."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        check_log_path(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b'{"at": 1}\n', b"2026-11-27T00:00:00.000Z INFO"])
def test_log_is_extended(tmp_path: Path, content: bytes) -> None:
    """An empty file and a log of either format are accepted."""
    path = tmp_path / "file"
    path.write_bytes(content)
    check_log_path(path)
    check_log_path(tmp_path / "new")
