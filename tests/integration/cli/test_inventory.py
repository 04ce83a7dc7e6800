"""Tests of `asyncgg inventory`, against the simulator."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from asyncgg.inventory import Snapshot
from asyncgg.storage import FileLock
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

SCAN_OPTIONS = ("--rate", 500, "--quiet")


def test_inventory_writes_a_snapshot_and_refuses_to_overwrite_it(cli: CommandRunner, serve: StartSimulator) -> None:
    """A complete snapshot is only replaced with --replace."""
    serve(small_fleet(3, 4))
    report = cli("inventory", *SCAN_OPTIONS, "--json").json
    assert (report["schema"], report["state"], report["exit"]) == ("asyncgg.inventory/1", "complete", 0)
    assert (report["out"], report["snapshot"], report["resumed"]) == ("fleet.db", "fleet.db", False)
    assert (report["cores"]["total"], report["associations"], report["failed_share"]) == (3, 12, 0.0)
    assert report["requests"] == {"sent": 4, "minimum": 4, "throttled": 0, "retried": 0}
    before = Path("fleet.db").read_bytes()
    refused = cli("inventory", *SCAN_OPTIONS)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "error: fleet.db already contains a complete scan; choose another file or pass --replace\n"
    assert Path("fleet.db").read_bytes() == before
    assert cli("inventory", *SCAN_OPTIONS, "--replace").code == 0
    assert Path("fleet.db").read_bytes() != before
    assert [file.name for file in sorted(Path().iterdir())] == ["fleet.csv", "fleet.db"]


@pytest.mark.parametrize(
    ("option", "value", "warnings"),
    [("--thing-group", "arn:aws:iot:us-east-1:123456789012:thinggroup/site-1", 1), ("--status", "UNHEALTHY", 0)],
)
def test_inventory_empty_list_for_a_thing_group_is_a_warning(
    option: str, value: str, warnings: int, cli: CommandRunner, serve: StartSimulator
) -> None:
    """The service can leave out the cores of a group; an empty list for another filter is an answer."""
    serve(small_fleet(3, 4))
    result = cli("inventory", *SCAN_OPTIONS, option, value)
    assert result.code == 0
    assert result.out.count(f"warning: no core is listed for the thing group {value}") == warnings
    document = cli("inventory", *SCAN_OPTIONS, option, value, "--replace", "--json").json
    assert document["cores"]["total"] == 0
    assert [value in warning for warning in document["warnings"]] == [True] * warnings


def test_inventory_denied_core_exits_3(cli: CommandRunner, serve: StartSimulator) -> None:
    """Progress goes to standard error, the result to standard output."""
    serve(small_fleet(3, 4), fault=("deny@core-2",))
    result = cli("inventory", "--rate", 500)
    assert result.code == 3
    assert result.out.splitlines()[:3] == [
        "partial: some cores could not be listed",
        "  cores      3 known, 2 listed, 1 denied",
        "  things     8 associations",
    ]
    assert "core core-2 denied: AccessDeniedException" in result.err
    assert "3/3 cores, 8 associations, 4 requests" in result.err


def test_inventory_export_can_be_planned(cli: CommandRunner, serve: StartSimulator) -> None:
    """--out x.csv leaves only the export, which is a manifest and not overwritten."""
    serve(small_fleet(3, 4))
    report = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv", "--json").json
    assert (report["out"], report["snapshot"]) == ("list.csv", None)
    assert cli("plan", "list.csv", "--json").json["things"]["total"] == 12
    refused = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv")
    assert (refused.code, "pass --replace" in refused.err) == (2, True)
    assert [file.name for file in sorted(Path().iterdir())] == ["fleet.csv", "list.csv"]


def test_inventory_interrupted_is_resumed(cli: CommandRunner, serve: StartSimulator) -> None:
    """SIGTERM: exit 130; the same command resumes, one with other filters is refused."""
    simulator = serve(small_fleet(30, 1))
    service = simulator.service
    handle = service.handle

    def interrupting(*arguments: Any) -> Any:
        if len(service.counters.log) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return handle(*arguments)

    service.handle = interrupting  # type: ignore[method-assign,assignment]  # the tenth request is when it comes
    result = cli("inventory", "--rate", 200, "--json")
    service.handle = handle  # type: ignore[method-assign]  # as it was
    assert (result.code, result.json["state"]) == (130, "interrupted")
    assert result.json["cores"]["waiting"] > 0
    assert "next, to resume the scan:\n  asyncgg inventory" in result.err
    other = cli("inventory", *SCAN_OPTIONS, "--status", "HEALTHY")
    assert other.code == 2
    assert "unfinished scan of no filters, this scan is of status HEALTHY" in other.err
    assert "contains an unfinished scan" in cli("where", "thing-1-1", "--inventory", "fleet.db").err
    report = cli("inventory", *SCAN_OPTIONS, "--json").json
    assert (report["resumed"], report["state"], report["requests"]["sent"]) == (True, "complete", 31)


def test_inventory_failed_export_is_repeated_without_a_scan(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed export is repeated from the kept scan unless that is too old."""
    simulator = serve(small_fleet(3, 4))
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patched:
        patched.setattr(csv, "writer", Mock(side_effect=full))
        result = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv")
    assert (result.code, result.out) == (2, "")
    assert "list.csv: cannot write the file: No space left on device" in result.err
    sent = len(simulator.service.counters.log)
    report = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv", "--json").json
    assert (report["state"], report["resumed"], report["associations"]) == ("complete", True, 12)
    assert len(simulator.service.counters.log) == sent
    assert [file.name for file in sorted(Path().iterdir())] == ["fleet.csv", "list.csv"]
    assert cli("inventory", *SCAN_OPTIONS, "--out", "next.csv.scan").code == 0
    assert cli("inventory", *SCAN_OPTIONS, "--out", "next.csv", "--max-age", "1ms").code == 0
    assert len(simulator.service.counters.log) == sent + 2 * 4


def test_inventory_replace_while_open_elsewhere_exits_2(cli: CommandRunner, serve: StartSimulator) -> None:
    """A snapshot open in another program is replaced after that program closes it."""
    simulator = serve(small_fleet(3, 4))
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    with closing(sqlite3.connect("fleet.db")) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("INSERT OR REPLACE INTO meta VALUES ('note', 'of another program')")
        other.commit()
        result = cli("inventory", *SCAN_OPTIONS, "--replace")
        assert (result.code, result.out) == (2, "")
        assert "fleet.db is open in another program; close that program" in result.err
    sent = len(simulator.service.counters.log)
    assert cli("inventory", *SCAN_OPTIONS, "--replace").code == 0
    assert len(simulator.service.counters.log) == sent
    assert [file.name for file in sorted(Path().iterdir())] == ["fleet.csv", "fleet.db"]
    with Snapshot("fleet.db") as snapshot:
        assert snapshot.counts().associations == 12


def test_inventory_locks_its_output(cli: CommandRunner, serve: StartSimulator) -> None:
    """Only one process at a time replaces or exports a file."""
    simulator = serve(small_fleet(3, 4))
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    sent = len(simulator.service.counters.log)
    for out in ("fleet.db", "fleet.csv"):
        lock = FileLock(Path(out))
        result = cli("inventory", *SCAN_OPTIONS, "--out", out, "--replace")
        lock.release()
        assert (result.code, f"{out} is in use by another process" in result.err) == (2, True)
    assert len(simulator.service.counters.log) == sent


USAGE_ERRORS = {
    ("where",): "no things given: give names, or --things FILE",
    ("where", "a b"): "invalid thing name 'a b': contains characters outside a-z A-Z 0-9 : _ -",
    ("where", "a", "--inventory", "fleet.csv"): "fleet.csv is not an asyncgg snapshot",
    (
        "inventory",
        "--status",
        "ILL",
    ): "--status: 'ILL' is not one of 'HEALTHY', 'UNHEALTHY'; see asyncgg inventory --help",
    (
        "inventory",
        "--max-age",
        "soon",
    ): "--max-age: 'soon' must be a duration such as 90s, 15m, 2h or 1h30m; see asyncgg inventory --help",
    ("inventory", "--out", "x.parquet.gz"): "x.parquet.gz: Parquet is already compressed; use the suffix .parquet",
    ("inventory", "--out", "fleet.csv"): "fleet.csv already exists; pass --replace, or choose another --out",
    ("inventory", "--out", "other.txt"): "other.txt is not an asyncgg snapshot",
    ("diff", "a.db", "b.db"): "a.db: no such file",
}


def test_snapshot_commands_invalid_usage_exits_2(cli: CommandRunner, serve: StartSimulator) -> None:
    """One error line; nothing is sent or overwritten."""
    simulator = serve()
    Path("other.txt").write_text("mine", encoding="utf-8")
    for arguments, message in USAGE_ERRORS.items():
        result = cli(*arguments, *(SCAN_OPTIONS if arguments[0] != "diff" else ()))
        assert (result.code, result.out, result.err) == (2, "", f"error: {message}\n")
    assert not simulator.service.counters.log
    assert Path("other.txt").read_text(encoding="utf-8") == "mine"


def test_inventory_json_log_ends_with_progress(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --log-format json standard error has one object per line."""
    serve(small_fleet(3, 4))
    result = cli("inventory", "--rate", 500, "--log-format", "json")
    lines = [json.loads(line) for line in result.err.splitlines()]
    assert lines[-1]["event"] == "progress"
    assert (lines[-1]["cores"], lines[-1]["requests_left"], lines[-1]["open_ended"]) == (3, 0, False)
    with Snapshot("fleet.db") as snapshot:
        assert snapshot.finished
