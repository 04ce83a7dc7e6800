"""`inventory`, `where` and `diff`, against a simulator beside them."""

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
from asyncgg.simulator import FleetSpec
from asyncgg.storage import FileLock
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

SCAN_OPTIONS = ("--rate", 500, "--quiet")


def test_a_snapshot_of_the_region(cli: CommandRunner, serve: StartSimulator) -> None:
    """`inventory` makes fleet.db, as one JSON object says; asked for again it refuses, unless it may replace it."""
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


def test_a_person_sees_how_it_goes(cli: CommandRunner, serve: StartSimulator) -> None:
    """Without --quiet progress goes to standard error, the end to standard output; a denied core is told: exit 3."""
    serve(small_fleet(3, 4), fault=("deny@core-2",))
    ended = cli("inventory", "--rate", 500)
    assert ended.code == 3
    assert ended.out.splitlines()[:3] == [
        "partial: some cores could not be listed",
        "  cores      3 known, 2 listed, 1 denied",
        "  things     8 associations",
    ]
    assert "core core-2 denied: AccessDeniedException" in ended.err
    assert "3/3 cores, 8 associations, 4 requests" in ended.err


def test_an_export_is_a_manifest(cli: CommandRunner, serve: StartSimulator) -> None:
    """--out x.csv leaves just that, and `plan` takes it as it is; one that is there is not overwritten unasked."""
    serve(small_fleet(3, 4))
    report = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv", "--json").json
    assert (report["out"], report["snapshot"]) == ("list.csv", None)
    assert cli("plan", "list.csv", "--json").json["things"]["total"] == 12
    refused = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv")
    assert (refused.code, "pass --replace" in refused.err) == (2, True)
    assert [file.name for file in sorted(Path().iterdir())] == ["fleet.csv", "list.csv"]


def test_interrupted_then_on(cli: CommandRunner, serve: StartSimulator) -> None:
    """SIGTERM lets what is in flight end: exit 130, and the same command resumes the scan; another one does not."""
    simulator = serve(small_fleet(30, 1))
    service = simulator.service
    handle = service.handle

    def interrupting(*arguments: Any) -> Any:
        if len(service.counters.log) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return handle(*arguments)

    service.handle = interrupting  # type: ignore[method-assign,assignment]  # the tenth request is when it comes
    ended = cli("inventory", "--rate", 200, "--json")
    service.handle = handle  # type: ignore[method-assign]  # as it was
    assert (ended.code, ended.json["state"]) == (130, "interrupted")
    assert ended.json["cores"]["waiting"] > 0
    assert "run the same command again to resume the scan" in ended.err
    other = cli("inventory", *SCAN_OPTIONS, "--status", "HEALTHY")
    assert other.code == 2
    assert "unfinished scan of no filters, this scan is of status HEALTHY" in other.err
    assert "contains an unfinished scan" in cli("where", "thing-1-1", "--inventory", "fleet.db").err
    report = cli("inventory", *SCAN_OPTIONS, "--json").json
    assert (report["resumed"], report["state"], report["requests"]["sent"]) == (True, "complete", 31)


def test_where(cli: CommandRunner, serve: StartSimulator) -> None:
    """Each thing with its cores and since when, from a snapshot or a sweep; exit 3 when one is on no core."""
    simulator = serve(FleetSpec.from_things({"a": ["x", "y"], "b": ["x"]}, now=1_700_000_000.0))
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    sent = len(simulator.service.counters.log)
    result = cli("where", "x", "--inventory", "fleet.db")
    since = "since 2023-11-14T22:13:20.000Z"
    assert (result.code, result.out) == (0, f"x  a  {since}\nx  b  {since}\n")
    Path("list.txt").write_text("y\nnobody\n", encoding="utf-8")
    as_json = cli("where", "x", "--things", "list.txt", "--inventory", "fleet.db", "--json")
    assert as_json.code == as_json.json["exit"] == 3
    assert {thing: [at["core"] for at in cores] for thing, cores in as_json.json["things"].items()} == {
        "x": ["a", "b"],
        "y": ["a"],
        "nobody": [],
    }
    assert (as_json.json["missing"], as_json.json["found"], as_json.json["scan"]) == (["nobody"], 2, None)
    assert len(simulator.service.counters.log) == sent
    after_scan = cli("where", "y", *SCAN_OPTIONS, "--json")
    assert after_scan.code == 0
    assert after_scan.json["scan"]["requests"]["sent"] == 3
    assert "at least one request per core, at most 500 requests/s" in after_scan.err


def test_a_part_of_the_fleet_says_so(cli: CommandRunner, serve: StartSimulator) -> None:
    """A snapshot of some cores does not know where else a thing is, and says so."""
    serve(small_fleet(3, 4))
    assert cli("inventory", *SCAN_OPTIONS, "--out", "some.db", "--status", "UNHEALTHY").code == 0
    result = cli("where", "thing-1-1", "--inventory", "some.db", "--json")
    assert (result.code, result.json["partial"]) == (3, "only cores that match its filters")
    assert "some.db holds only cores that match its filters; things on other cores are not found" in result.err
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    assert cli("where", "thing-1-1", "--inventory", "fleet.db", "--json").json["partial"] is None


def test_a_sweep_that_could_not_take_its_place_is_not_made_again(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an export that failed nothing is asked for again; a sweep too old for that is made anew."""
    simulator = serve(small_fleet(3, 4))
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patched:
        patched.setattr(csv, "writer", Mock(side_effect=full))
        ended = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv")
    assert (ended.code, ended.out) == (2, "")
    assert "list.csv: cannot write the file: No space left on device" in ended.err
    sent = len(simulator.service.counters.log)
    report = cli("inventory", *SCAN_OPTIONS, "--out", "list.csv", "--json").json
    assert (report["state"], report["resumed"], report["associations"]) == ("complete", True, 12)
    assert len(simulator.service.counters.log) == sent
    assert [file.name for file in sorted(Path().iterdir())] == ["fleet.csv", "list.csv"]
    assert cli("inventory", *SCAN_OPTIONS, "--out", "next.csv.scan").code == 0
    assert cli("inventory", *SCAN_OPTIONS, "--out", "next.csv", "--max-age", "1ms").code == 0
    assert len(simulator.service.counters.log) == sent + 2 * 4


def test_who_reads_a_snapshot_does_not_spoil_the_next(cli: CommandRunner, serve: StartSimulator) -> None:
    """What a reader of the old one left beside it must not count as the new one's: replaced is when it is closed."""
    simulator = serve(small_fleet(3, 4))
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    with closing(sqlite3.connect("fleet.db")) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("INSERT OR REPLACE INTO meta VALUES ('note', 'of another program')")
        other.commit()
        ended = cli("inventory", *SCAN_OPTIONS, "--replace")
        assert (ended.code, ended.out) == (2, "")
        assert "fleet.db is open in another program; close that program" in ended.err
    sent = len(simulator.service.counters.log)
    assert cli("inventory", *SCAN_OPTIONS, "--replace").code == 0
    assert len(simulator.service.counters.log) == sent
    assert [file.name for file in sorted(Path().iterdir())] == ["fleet.csv", "fleet.db"]
    with Snapshot("fleet.db") as snapshot:
        assert snapshot.counts().associations == 12


def test_two_at_once_for_one_place(cli: CommandRunner, serve: StartSimulator) -> None:
    """Who replaces or exports has the place to himself, until it is taken."""
    simulator = serve(small_fleet(3, 4))
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    sent = len(simulator.service.counters.log)
    for out in ("fleet.db", "fleet.csv"):
        lock = FileLock(Path(out))
        ended = cli("inventory", *SCAN_OPTIONS, "--out", out, "--replace")
        lock.release()
        assert (ended.code, f"{out} is in use by another process" in ended.err) == (2, True)
    assert len(simulator.service.counters.log) == sent


def test_diff(cli: CommandRunner, serve: StartSimulator) -> None:
    """What appeared and vanished, as lines, as JSON and as a list; snapshots of different fleets are not compared."""
    simulator = serve(FleetSpec.from_things({"a": ["x", "y"], "b": ["x"]}, now=1_700_000_000.0))
    assert cli("inventory", *SCAN_OPTIONS, "--out", "old.db").code == 0
    simulator.service.fleet.disassociate("a", "x")
    simulator.service.fleet.associate("b", "z", 1_700_000_000.0)
    assert cli("inventory", *SCAN_OPTIONS, "--out", "new.db").code == 0
    result = cli("diff", "old.db", "new.db", "--out", "changes.csv")
    assert result.out.splitlines() == [
        "0 cores appeared",
        "1 associations appeared",
        "  + b,z",
        "0 cores vanished",
        "1 associations vanished",
        "  - a,x",
    ]
    since = "2023-11-14T22:13:20.000Z"
    assert Path("changes.csv").read_text(encoding="utf-8") == (
        f"core,thing,change,associated_at\nb,z,appeared,{since}\na,x,vanished,{since}\n"
    )
    report = cli("diff", "old.db", "new.db", "--json").json
    assert (report["schema"], report["truncated"]) == ("asyncgg.diff/1", False)
    assert report["counts"] == {
        "cores_appeared": 0,
        "cores_vanished": 0,
        "appeared": 1,
        "vanished": 1,
        "not_compared": 0,
    }
    assert [pair["thing"] for pair in report["appeared"]] == ["z"]
    assert cli("inventory", *SCAN_OPTIONS, "--out", "some.db", "--status", "HEALTHY").code == 0
    refused = cli("diff", "old.db", "some.db")
    assert (refused.code, "pass --force" in refused.err) == (2, True)
    assert "OLD is later than NEW" in cli("diff", "new.db", "old.db").err
    assert "warning: different filters" in cli("diff", "old.db", "some.db", "--force").err


USAGE_ERRORS = {
    ("where",): "no things given: give names, or --things FILE",
    ("where", "a b"): "invalid thing name 'a b': has characters outside a-z A-Z 0-9 : _ -",
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


def test_wrong_usage(cli: CommandRunner, serve: StartSimulator) -> None:
    """One line on standard error, nothing on standard output, nothing asked, nothing overwritten: exit 2."""
    simulator = serve()
    Path("other.txt").write_text("mine", encoding="utf-8")
    for arguments, message in USAGE_ERRORS.items():
        ended = cli(*arguments, *(SCAN_OPTIONS if arguments[0] != "diff" else ()))
        assert (ended.code, ended.out, ended.err) == (2, "", f"error: {message}\n")
    assert not simulator.service.counters.log
    assert Path("other.txt").read_text(encoding="utf-8") == "mine"


def test_json_log_lines(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --log-format json standard error is one JSON object a line, the last progress among them."""
    serve(small_fleet(3, 4))
    ended = cli("inventory", "--rate", 500, "--log-format", "json")
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert lines[-1]["event"] == "progress"
    assert (lines[-1]["cores"], lines[-1]["requests_left"], lines[-1]["open_ended"]) == (3, 0, False)
    with Snapshot("fleet.db") as snapshot:
        assert snapshot.finished
