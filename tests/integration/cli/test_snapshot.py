"""Tests of `asyncgg disassociate --snapshot` and of what the plan says about undo."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from asyncgg.runs import api
from tests.integration.cli.conftest import StartSimulator
from tests.integration.cli.test_undo import associations
from tests.support.command_line import CommandRunner, small_fleet

OPTIONS = ("--rate", "500", "--yes", "--json", "--journal", "run.journal")


def test_plan_says_whether_undo_is_possible(cli: CommandRunner, serve: StartSimulator) -> None:
    """A manifest alone is no proof; --snapshot is, and costs requests and time."""
    serve(small_fleet(100, 1))
    options = ("plan", "fleet.csv", "--rate", "10", "--burst", "1")
    without, with_snapshot = cli(*options), cli(*options, "--snapshot")
    assert "  undo       only with proof of the associations: use --snapshot" in without.out
    assert "  undo       possible" in with_snapshot.out
    assert "  snapshot   the cores are listed first: at least 100 more requests" in with_snapshot.out
    plan, other = cli(*options, "--json").json, cli(*options, "--snapshot", "--json").json
    assert (plan["undoable"], plan["snapshot_requests"], plan["requests"]) == (False, 0, 100)
    assert (other["undoable"], other["snapshot_requests"], other["requests"]) == (True, 100, 100)
    assert other["seconds"] - plan["seconds"] == pytest.approx(10)


def test_plan_of_a_lookup_is_undoable(cli: CommandRunner, serve: StartSimulator) -> None:
    """A lookup has proof; --snapshot adds nothing."""
    serve()
    result = cli("disassociate", "--core", "core-1", "--snapshot", *OPTIONS)
    assert result.code == 0, result.err
    assert "  undo       possible" in result.err
    assert "listed first" not in result.err


def test_snapshot_makes_undo_exact(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Undo restores what was associated before, and nothing else that the service accepted."""
    simulator = serve()
    before = associations(simulator)
    manifest = Path("fleet.csv")
    manifest.write_text(manifest.read_text() + "core-1,never-associated\n")
    result = cli("disassociate", manifest, "--snapshot", *OPTIONS)
    assert result.code == 0, result.err
    assert not associations(simulator)
    counts = simulator.service.counters.requests
    assert counts.total() == 6, "three lists and three batches"
    assert "asyncgg undo run.journal" in result.err
    undo = ("undo", "run.journal", "--rate", "500", "--yes", "--json", "--journal", "undo.journal")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("run.journal", "run.fleet.db"):  # both are moved together
        Path(name).rename(moved / name)
    second = cli("undo", moved / "run.journal", *undo[2:])
    assert second.code == 0, second.err
    assert associations(simulator) == before


def test_undo_with_lost_snapshot_exits_2(cli: CommandRunner, serve: StartSimulator) -> None:
    """The message names the snapshot; --assume-associated does without it."""
    simulator = serve()
    assert cli("disassociate", "fleet.csv", "--snapshot", *OPTIONS).code == 0
    Path("run.fleet.db").unlink()
    result = cli("undo", "run.journal", "--yes", "--journal", "undo.journal")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "run.fleet.db: the snapshot that was made before the run is missing" in result.err
    arguments = ("--yes", "--rate", "500", "--journal", "undo.journal", "--assume-associated")
    assert cli("undo", "run.journal", *arguments).code == 0
    assert len(associations(simulator)) == 12


def test_snapshot_incomplete_sends_nothing(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """A core that cannot be listed stops the run before its first batch, without a journal."""
    simulator = serve(fault=("deny@core-2",))
    result = cli("disassociate", "fleet.csv", "--snapshot", *OPTIONS)
    assert result.code == 4
    assert "1 core could not be listed, so undo would not be possible; nothing was sent" in result.err
    assert len(associations(simulator)) == 12
    assert not list(tmp_path.glob("run.journal*"))


def test_snapshot_dry_run_lists_nothing(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """A dry run shows the requests and sends none."""
    simulator = serve()
    result = cli("disassociate", "fleet.csv", "--snapshot", "--dry-run", *OPTIONS)
    assert (result.code, result.json["snapshot_requests"]) == (0, 3)
    assert simulator.service.counters.requests.total() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.csv"]


def test_snapshot_of_program_makes_undo_possible(serve: StartSimulator) -> None:
    """A program has the same setting."""
    simulator = serve()
    before = associations(simulator)
    keywords: dict[str, Any] = {"endpoint_url": simulator.url, "region": "us-east-1", "rate": 500.0}
    summary = api.disassociate_sync(before, snapshot=True, journal=Path("run.journal"), **keywords)
    assert (summary.disassociated, summary.undoable) == (12, True)
    assert asyncio.run(api.undo("run.journal", into="undo.journal", **keywords)).disassociated == 12
    assert associations(simulator) == before


def test_undo_of_a_policy_writes_a_protect_list(cli: CommandRunner, serve: StartSimulator) -> None:
    """The plan and the run say that the policy selects the things again; its guard takes the list."""
    simulator = serve(small_fleet(2, 3))
    before = associations(simulator)
    Path("keep.txt").write_text("thing-1-1\n")
    policy = Path("policy.toml")
    text = """name = "nightly"
[[rule]]
id = "unlisted"
not-in = "keep.txt"
[guards]
max-things = 100
"""
    state = '[state]\nfolder = "state"\n'
    policy.write_text(text + state)
    assert cli("cleanup", policy, "--rate", "500", "--json").code == 0
    (journal,) = Path("state").glob("*/run.journal")
    undo = ("undo", journal, "--journal", "undo.journal", "--rate", "500")
    dry_run = cli(*undo, "--dry-run")
    assert "  policy     nightly selects these things again" in dry_run.err
    assert not Path("undo.protect.txt").exists()
    result = cli(*undo, "--yes")
    assert result.code == 0, result.err
    assert "policy nightly selects these things again; add their list to `protect`" in result.err
    assert Path("undo.protect.txt").read_text().splitlines() == [
        f"thing:{thing}" for _, thing in sorted(before, key=lambda pair: pair[1]) if thing != "thing-1-1"
    ]
    policy.write_text(text + 'protect = ["undo.protect.txt"]\n' + state)
    again = cli("cleanup", policy, "--rate", "500", "--json")
    assert again.code == 0, again.err
    assert associations(simulator) == before
