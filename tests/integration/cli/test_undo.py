"""Rule: `asyncgg undo` as a person types it."""

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

from asyncgg.simulator import FleetSpec, Simulator
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, isolated_environment, small_fleet, start_process, wait_until

RUN_OPTIONS = ("--rate", "500", "--yes")
JSON_OPTIONS = (*RUN_OPTIONS, "--quiet", "--json")


def _run_first(cli: CommandRunner, *options: object) -> None:
    assert cli("disassociate", "fleet.csv", *JSON_OPTIONS, "--journal", "run.journal", *options).code == 0


def associations(simulator: Simulator) -> set[tuple[str, str]]:
    """Who is associated with whom now."""
    return {(core, thing) for core, things in simulator.service.fleet.things.items() for thing in things}


def test_undo_and_back(cli: CommandRunner, serve: StartSimulator) -> None:
    """A run is taken back, the undo too; plan, summary and JSON speak of what they do."""
    simulator = serve()
    before = associations(simulator)
    _run_first(cli)
    assert not associations(simulator)
    ended = cli("undo", "run.journal", *RUN_OPTIONS, "--json", "--assume-associated", "--journal", "undo.journal")
    assert ended.code == 0, ended.err
    assert associations(simulator) == before
    document = ended.json
    assert (document["operation"], document["journal"]) == ("associate", "undo.journal")
    assert document["things"] == document["things"] | {"total": 12, "associated": 12, "failed": 0}
    assert "plan: associate 12 things with 3 cores" in ended.err
    assert "  undo of    run " in ended.err
    assert "complete: every thing is associated" in ended.err
    second = cli("undo", "undo.journal", *RUN_OPTIONS, "--json")  # what an undo did is known
    assert second.code == 0, second.err
    assert second.json["things"]["disassociated"] == 12
    assert not associations(simulator)


def test_the_refusal_is_one_line_and_leaves_nothing(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Without evidence: exit 2, the number of things, and what to give; no journal."""
    serve()
    _run_first(cli)
    ended = cli("undo", "run.journal", *JSON_OPTIONS, "--journal", "undo.journal")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "cannot prove that the 12 things" in ended.err
    assert not list(tmp_path.glob("undo.journal*"))


def test_a_part_may_come_through_a_pipe(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named pipe and standard input are read once, and pairs stay pairs."""
    serve(FleetSpec.from_things({"core-1": ["both"], "core-2": ["both"]}, now=1000.0))
    _run_first(cli)
    os.mkfifo("only.pipe")
    writer = threading.Thread(target=Path("only.pipe").write_text, args=("core,thing\ncore-1,both\n",))
    writer.start()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"core;thing\ncore-2;both\n")))
    for name in ("only.pipe", "-"):
        ended = cli("undo", "run.journal", "--assume-associated", "--dry-run", "--json", "--only", name)
        assert ended.code == 0, ended.err
        assert ended.json["things"]["total"] == 1
    writer.join(5)


def test_dry_run(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """--dry-run tells what would be taken back and what is left out, and sends nothing."""
    simulator = serve()
    _run_first(cli)
    (tmp_path / "only.txt").write_text("thing-1-1  # a comment\nthing-2-3\n")
    options = ("--dry-run", "--assume-associated", "--only", "only.txt", "--json")
    ended = cli("undo", "run.journal", *options)
    assert ended.code == 0, ended.err
    assert (ended.json["operation"], ended.json["things"]["total"]) == ("associate", 2)
    assert ended.json["excluded"] == {"not_selected": 10}
    assert "10 not in the list" in ended.err
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


def test_lists_that_are_no_good(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """A list with strangers or faults stops the undo before anything is sent, naming file and line."""
    simulator = serve()
    _run_first(cli)
    for name, content, message in INVALID_LISTS:
        (tmp_path / name).write_text(content)
        ended = cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated", "--only", name)
        assert (ended.code, ended.out) == (2, ""), content
        assert message in ended.err
    assert not associations(simulator)


def test_a_list_of_failures_is_a_list(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """What `report --outcomes` writes can be given to --only: its core,thing count, its other columns do not."""
    simulator = serve()
    _run_first(cli)
    assert cli("report", "run.journal", "--outcomes", "all.csv").code == 0
    lines = (tmp_path / "all.csv").read_text().splitlines()
    (tmp_path / "some.csv").write_text("\n".join(lines[:3]) + "\n")
    assert cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated", "--only", "some.csv").code == 0
    assert associations(simulator) == {("core-1", "thing-1-1"), ("core-1", "thing-1-2")}


def test_an_undo_goes_where_the_run_was(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint of the run counts, and not the environment's of today."""
    simulator = serve()
    _run_first(cli)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated").code == 0
    assert len(associations(simulator)) == 12


def test_a_stopped_undo_is_resumed_and_retried(cli: CommandRunner, serve: StartSimulator) -> None:
    """status, report, resume and retry work on an undo's journal, in its own words."""
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


def test_missing_permission_is_named(cli: CommandRunner, serve: StartSimulator) -> None:
    """An undo that is denied everywhere names the permission of its own operation."""
    simulator = serve()
    _run_first(cli)
    simulator.service.set_faults(["deny-all"])
    ended = cli("undo", "run.journal", *JSON_OPTIONS, "--assume-associated")
    assert ended.code == 5
    assert "grant greengrass:BatchAssociateClientDeviceWithCoreDevice" in ended.json["reason"]


def test_only_a_snapshot_from_before_speaks(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """--inventory: a snapshot from before the run is evidence of what it holds; a later one is refused, and so is one
    of another fleet, a journal, or half a sweep."""
    plan = FleetSpec.from_things({"core-1": ["a", "b"], "core-2": []}, now=1.0)
    simulator = serve(plan, not_found="success")
    (tmp_path / "fleet.csv").write_text("core,thing\ncore-1,a\ncore-1,b\ncore-2,stranger\n")
    assert cli("inventory", "--out", "before.db", "--rate", 500, "--quiet").code == 0
    _run_first(cli)
    assert cli("inventory", "--out", "after.db", "--rate", 500, "--quiet").code == 0
    for name, message in {"after.db": "not before the run", "run.journal": "a journal", "none.db": "no such"}.items():
        ended = cli("undo", "run.journal", *JSON_OPTIONS, "--inventory", name)
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err
    ended = cli("undo", "run.journal", *RUN_OPTIONS, "--json", "--inventory", "before.db")
    assert ended.code == 0, ended.err
    assert "1 not known to have been associated before" in ended.err
    assert associations(simulator) == {("core-1", "a"), ("core-1", "b")}


def test_a_journal_of_an_unknown_operation(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """What a later asyncgg may have written is not taken for a disassociation."""
    simulator = serve()
    assert cli("disassociate", "fleet.csv", *JSON_OPTIONS, "--journal", "run.journal", "--deadline", "1ms").code == 10
    before = associations(simulator)
    with closing(sqlite3.connect(tmp_path / "run.journal")) as connection, connection:
        connection.execute("INSERT INTO meta VALUES ('operation', 'rename')")
    for command in ("resume", "retry", "status", "undo"):
        ended = cli(command, "run.journal", *(JSON_OPTIONS if command != "status" else ()))
        assert ended.code == 2, command
        assert "unknown operation 'rename'; upgrade asyncgg" in ended.err
    assert associations(simulator) == before


def test_a_killed_undo_is_resumed(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Killed with requests in flight an undo is resumed, also by whom has only its journal; the fleet is as before."""
    simulator = serve(small_fleet(30, 2), latency_ms=40.0)
    before = associations(simulator)
    _run_first(cli)
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url, AWS_DEFAULT_REGION="eu-west-1")
    options = ("--yes", "--rate", "60", "--assume-associated", "--journal", "undo.journal")
    process = start_process("undo", "run.journal", *options, cwd=tmp_path, env=env)
    wait_until(lambda: len(associations(simulator)) >= 10)
    process.kill()
    process.communicate()
    (tmp_path / "run.journal").unlink()
    ended = cli("resume", "undo.journal", *JSON_OPTIONS)
    assert ended.code == 0, ended.err
    assert ended.json["things"]["associated"] == 60
    assert associations(simulator) == before


def test_json_of_a_plan_names_the_operation(cli: CommandRunner, serve: StartSimulator) -> None:
    """A plan of a disassociation says so, too."""
    serve()
    assert json.loads(cli("plan", "fleet.csv", "--json").out)["operation"] == "disassociate"
