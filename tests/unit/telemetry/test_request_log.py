"""Tests of the file with one JSON line per request."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.events import RunStarted, Throttled
from asyncgg.formatting import format_timestamp
from asyncgg.telemetry.messages import request_fields
from asyncgg.telemetry.request_log import RequestLog
from tests.unit.telemetry.test_event_log import LABELS, REQUEST


async def test_each_request_is_one_line(tmp_path: Path) -> None:
    """Only requests are logged, each with run, labels and time."""
    path = tmp_path / "requests.jsonl"
    with RequestLog(path, LABELS) as listener:
        for event in (RunStarted("run-1", 1, 1), REQUEST, Throttled("core-1", None), replace(REQUEST, batch=8)):
            listener(event)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["batch"] for line in lines] == [7, 8]
    assert lines[0]["run"] == "run-1"
    assert (lines[0]["at"], lines[0]["policy"]) == ("1970-01-01T00:00:01.000Z", "nightly")


@given(
    core=st.text(), code=st.text(), message=st.text(), status=st.none() | st.integers(100, 599), at=st.floats(0, 4e9)
)
def test_line_has_the_members_of_a_request(core: str, code: str, message: str, status: int | None, at: float) -> None:
    """The line is written out; it equals what an encoder makes of the fields, whatever the texts are."""
    request = replace(REQUEST, core=core, code=code, message=message, status=status, finished_at=at)

    async def write() -> str:
        with TemporaryDirectory() as folder, RequestLog(Path(folder) / "requests.jsonl", LABELS) as listener:
            listener(request)
            listener._write()
            return (Path(folder) / "requests.jsonl").read_text()

    line = asyncio.run(write())
    assert line.count("\n") == 1
    expected = {"at": format_timestamp(at), **LABELS.known(), **request_fields(request)}
    members = json.loads(line, object_pairs_hook=list)
    assert dict(members) == expected
    assert len(members) == len(expected)


async def test_lines_are_appended_after_a_cut_off_line(tmp_path: Path) -> None:
    """A line that a killed process left unfinished does not damage the next one."""
    path = tmp_path / "requests.jsonl"
    path.write_text('{"at": "2026')
    for _ in range(2):
        with RequestLog(path, LABELS) as listener:
            listener(REQUEST)
    _, *lines = path.read_text().splitlines()
    assert [json.loads(line)["core"] for line in lines] == ["core-1", "core-1"]


@pytest.mark.parametrize("name", ["missing/requests.jsonl", "."])
async def test_unusable_path_is_a_usage_error(tmp_path: Path, name: str) -> None:
    """A folder that is missing and a folder in place of the file end the command before anything is sent."""
    with pytest.raises(UsageError):
        RequestLog(tmp_path / name, LABELS)


async def test_full_disk_ends_the_log_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The run continues, and the log says once that it ends."""
    with caplog.at_level(logging.WARNING, "asyncgg"), RequestLog(Path("/dev/full"), LABELS) as listener:
        for _ in range(3):
            listener(REQUEST)
    (record,) = caplog.records
    assert "/dev/full" in record.getMessage()
    assert record.name == "asyncgg.telemetry"
