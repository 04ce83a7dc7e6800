"""Tests of `asyncgg undo`."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from asyncgg.errors import JournalError
from asyncgg.simulator import FleetSpec, Simulator
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, isolated_environment, small_fleet, wait_until
from tests.support.programs import Program

RUN_OPTIONS = ("--rate", "500", "--yes")
JSON_OPTIONS = (*RUN_OPTIONS, "--quiet", "--json")


def _run_first(cli: CommandRunner, *options: object) -> None:
    assert cli("disassociate", "fleet.csv", *JSON_OPTIONS, "--journal", "run.journal", *options).code == 0


def associations(simulator: Simulator) -> set[tuple[str, str]]:
    """The current associations, as pairs of core and thing."""
    return {(core, thing) for core, things in simulator.service.fleet.things.items() for thing in things}


def test_undo_restores_and_can_be_undone(cli: CommandRunner, serve: StartSimulator) -> None:
    """A run is undone, and so is the undo; plan and summary name the operation."""
    simulator = serve()
    before = associations(simulator)
    _run_first(cli)
    assert not associations(simulator)
    result = cli("undo", "run.journal", *RUN_OPTIONS, "--json", "--assume-associated", "--journal", "undo.journal")
    assert result.code == 0, result.err
    assert associations(simulator) == before
    document = result.json
    assert (document["operation"], document["journal"]) == ("associate", "undo.journal")
    assert document["things"] == document["things"] | {"total": 12, "associated": 12, "failed": 0}
    assert "plan: associate 12 things with 3 cores" in result.err
    assert "  undo of    run " in result.err
    assert "complete: every thing is associated" in result.err
    undone = cli("report", "run.journal", "--json").json
    assert len(undone["undone"]) == 1
    assert undone["next"] == ["asyncgg report run.journal --html report.html"], "no second undo, no verification"
    second = cli("undo", "undo.journal", *RUN_OPTIONS, "--json")  # what an undo did is known
    assert second.code == 0, second.err
    assert second.json["things"]["disassociated"] == 12
    assert not associations(simulator)


def test_undo_without_evidence_exits_2(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """One line with the number of things; no journal is left."""
    serve()
    _run_first(cli)
    result = cli("undo", "run.journal", *JSON_OPTIONS, "--journal", "undo.journal")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "cannot prove that the 12 things" in result.err
    assert not list(tmp_path.glob("undo.journal*"))


def test_undo_only_reads_pipes_once(cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named pipe and standard input are read once, and keep pairs."""
    serve(FleetSpec.from_things({"core-1": ["both"], "core-2": ["both"]}, now=1000.0))
    _run_first(cli)
    os.mkfifo("only.pipe")
    writer = threading.Thread(target=Path("only.pipe").write_text, args=("core,thing\ncore-1,both\n",))
    writer.start()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"core;thing\ncore-2;both\n")))
    for name in ("only.pipe", "-"):
        result = cli("undo", "run.journal", "--assume-associated", "--dry-run", "--json", "--only", name)
        assert result.code == 0, result.err
        assert result.json["things"]["total"] == 1
    writer.join(5)


def test_undo_dry_run_sends_nothing(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """--dry-run shows what would be restored and what is excluded."""
    simulator = serve()
    _run_first(cli)
    (tmp_path / "only.txt").write_text("thing-1-1  # a comment\nthing-2-3\n")
    options = ("--dry-run", "--assume-associated", "--only", "only.txt", "--json")
    result = cli("undo", "run.journal", *options)
    assert result.code == 0, result.err
    assert (result.json["operation"], result.json["things"]["total"]) == ("associate", 2)
    assert result.json["excluded"] == {"not_selected": 10}
    assert "10 not in the list" in result.err
    assert not associations(simulator)
    assert [path.name for path in tmp_path.glob("*.journal")] == ["run.journal"]


INVALID_LISTS = [
    ("only.csv", "core,thing\ncore-1,thing-1-1\ncore-9,x\n", "only.csv: 1 entry is not in run"),
    ("only.csv", "core,thing\ncore-1,\n", "only.csv:2: thing is empty"),
    ("only.csv", "core,thing,thing\n", "occurs twice"),
    ("only.csv", "core\ncore-1,\n", "only.csv:"),
    ("only.txt", "a b\n", "only.txt:1: invalid thing name `a b`"),
    ("only.txt", "", "only.txt: the list has no names"),
    ("only.jsonl", "{}\n", "only.jsonl:1:"),
]


def test_undo_invalid_only_list_exits_2(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """An invalid list is reported by file and line before anything is sent."""
    simulator = serve()
    _run_first(cli)
    for name, content, message in INVALID_LISTS:
        (tmp_path / name).write_text(content)
        result = cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated", "--only", name)
        assert (result.code, result.out) == (2, ""), content
        assert message in result.err
    assert not associations(simulator)


def test_undo_only_accepts_a_list_of_outcomes(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """--only accepts the output of `report --outcomes`."""
    simulator = serve()
    _run_first(cli)
    assert cli("report", "run.journal", "--outcomes", "all.csv").code == 0
    lines = (tmp_path / "all.csv").read_text().splitlines()
    (tmp_path / "some.csv").write_text("\n".join(lines[:3]) + "\n")
    assert cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated", "--only", "some.csv").code == 0
    assert associations(simulator) == {("core-1", "thing-1-1"), ("core-1", "thing-1-2")}


def test_undo_uses_the_endpoint_of_the_run(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded endpoint is used, not that of the environment."""
    simulator = serve()
    _run_first(cli)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated").code == 0
    assert len(associations(simulator)) == 12


def test_undo_stopped_is_resumed_and_retried(cli: CommandRunner, serve: StartSimulator) -> None:
    """status, report, resume and retry work on the journal of an undo."""
    simulator = serve(small_fleet(12, 1))
    _run_first(cli)
    simulator.service.set_faults(["entry:AccessDeniedException@thing-3-1"])
    options = (
        "--yes",
        "--json",
        "--rate",
        20,
        "--deadline",
        "200ms",
        "--journal",
        "undo.journal",
        "--assume-associated",
    )
    first = cli("undo", "run.journal", *options)
    assert first.code == 10, first.err
    pending = first.json["things"]["pending"]
    assert pending
    assert "associated" in cli("status", "undo.journal").out
    assert cli("report", "undo.journal", "--json").json["operation"] == "associate"
    second = cli("resume", "undo.journal", *RUN_OPTIONS, "--json", "--deadline", "1m")
    assert second.code == 3, second.err
    assert f"resume: associate the {pending} pending of 12 things" in second.err
    simulator.service.set_faults(())
    third = cli("retry", "undo.journal", *JSON_OPTIONS)
    assert (third.code, third.json["things"]["associated"]) == (0, 12)
    assert len(associations(simulator)) == 12
    assert cli("report", "undo.journal", "--html", "undo.html", "--outcomes", "undo.csv").code == 0
    assert "Association of client devices" in Path("undo.html").read_text()
    assert Path("undo.csv").read_text().splitlines()[1].startswith("core-1,thing-1-1,associated,")


def test_undo_denied_everywhere_names_its_permission(cli: CommandRunner, serve: StartSimulator) -> None:
    """The reason has the permission of the associate operation."""
    simulator = serve()
    _run_first(cli)
    simulator.service.set_faults(["deny-all"])
    result = cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated")
    assert result.code == 5
    assert "grant greengrass:BatchAssociateClientDeviceWithCoreDevice" in result.json["reason"]


def test_undo_inventory_must_be_older_than_the_run(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """A snapshot from before the run is evidence; a later one or another file is refused."""
    plan = FleetSpec.from_things({"core-1": ["a", "b"], "core-2": []}, now=1.0)
    simulator = serve(plan, not_found="success")
    (tmp_path / "fleet.csv").write_text("core,thing\ncore-1,a\ncore-1,b\ncore-2,stranger\n")
    assert cli("inventory", "--out", "before.db", "--rate", 500, "--quiet").code == 0
    _run_first(cli)
    assert cli("inventory", "--out", "after.db", "--rate", 500, "--quiet").code == 0
    messages = {"after.db": "not before the run", "run.journal": "the same file", "none.db": "no such"}
    for name, message in messages.items():
        result = cli("undo", "run.journal", *JSON_OPTIONS, "--inventory", name)
        assert (result.code, result.out) == (2, "")
        assert message in result.err
    result = cli("undo", "run.journal", *RUN_OPTIONS, "--json", "--inventory", "before.db")
    assert result.code == 0, result.err
    assert "1 not known to have been associated before" in result.err
    assert associations(simulator) == {("core-1", "a"), ("core-1", "b")}


def test_unknown_operation_in_journal_exits_2(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """A journal with an operation of a later version is refused."""
    simulator = serve()
    assert cli("disassociate", "fleet.csv", *JSON_OPTIONS, "--journal", "run.journal", "--deadline", "1ms").code == 10
    before = associations(simulator)
    with closing(sqlite3.connect(tmp_path / "run.journal")) as connection, connection:
        connection.execute("INSERT INTO meta VALUES ('operation', 'rename')")
    for command in ("resume", "retry", "status", "undo"):
        result = cli(command, "run.journal", *(JSON_OPTIONS if command != "status" else ()))
        assert result.code == 2, command
        assert "unknown operation 'rename'; upgrade asyncgg" in result.err
    assert associations(simulator) == before


def test_undo_killed_is_resumed(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """After kill -9 an undo is resumed with its own journal only."""
    simulator = serve(small_fleet(30, 2), latency_ms=40.0)
    before = associations(simulator)
    _run_first(cli)
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url, AWS_DEFAULT_REGION="eu-west-1")
    options = ("--yes", "--rate", "60", "--assume-associated", "--journal", "undo.journal")
    with Program("undo", "run.journal", *options, home=tmp_path, env=env):  # killed at the end of the block
        wait_until(lambda: len(associations(simulator)) >= 10)
    (tmp_path / "run.journal").unlink()
    result = cli("resume", "undo.journal", *JSON_OPTIONS)
    assert result.code == 0, result.err
    assert result.json["things"]["associated"] == 60
    assert associations(simulator) == before


def test_plan_json_names_the_operation(cli: CommandRunner, serve: StartSimulator) -> None:
    """A plan of a disassociation has that operation."""
    serve()
    assert json.loads(cli("plan", "fleet.csv", "--json").out)["operation"] == "disassociate"


def test_undo_is_shown_in_the_report_of_the_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """A report names the undo, and shows an older verification as one from before it; a dry run leaves no mark."""
    serve()
    _run_first(cli)
    assert cli("verify", "run.journal", "--quiet").code == 0
    cli("undo", "run.journal", "--dry-run", "--assume-associated")
    document = cli("report", "run.journal", "--json").json
    assert "undone" not in document
    assert document["verified"]["before_undo"] is False
    only = Path("only.csv")
    only.write_text("core,thing\ncore-1,thing-1-1\n", encoding="utf-8")
    options = ("--assume-associated", *JSON_OPTIONS)
    assert cli("undo", "run.journal", *options, "--only", only, "--journal", "part.journal").code == 0
    result = cli("report", "run.journal", "--html", "report.html", "--json").json
    assert result["verified"]["before_undo"] is True
    assert [(mark["reverted"], mark["total"]) for mark in result["undone"]] == [(1, 1)]
    assert result["undone"][0]["journal"] == str(Path("part.journal").absolute())
    page = Path("report.html").read_text(encoding="utf-8")
    assert "Complete, then undone" in page
    assert "Verified before the undo" in page
    Path("part.journal").unlink()  # the mark keeps its counts
    assert cli("report", "run.journal", "--json").json["undone"] == result["undone"]


def test_undo_unwritable_original_warns(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An undo that cannot leave its mark says so and restores everything."""
    simulator = serve()
    _run_first(cli)

    async def fail(path: Path, **values: object) -> None:
        raise JournalError(f"{path}: read-only")

    monkeypatch.setattr("asyncgg.report.undo_marks.write_meta", fail)
    result = cli("undo", "run.journal", *RUN_OPTIONS, "--assume-associated")
    assert result.code == 0
    assert "will not mention this undo: run.journal: read-only" in result.err.replace(f"{Path.cwd()}/", "")
    assert len(associations(simulator)) == 12
