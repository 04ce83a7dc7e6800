"""Tests of `asyncgg where`, against the simulator."""

from __future__ import annotations

from pathlib import Path

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

SCAN_OPTIONS = ("--rate", 500, "--quiet")


def test_where_shows_cores_from_snapshot_or_scan(cli: CommandRunner, serve: StartSimulator) -> None:
    """Each thing with its cores and time; exit 3 if one is on no core."""
    simulator = serve(FleetSpec.from_things({"a": ["x", "y"], "b": ["x"]}, now=1_700_000_000.0))
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    sent = len(simulator.service.counters.log)
    result = cli("where", "x", "--inventory", "fleet.db")
    since = "since 2023-11-14T22:13:20.000Z"
    assert (result.code, result.out) == (0, f"x  a  {since}\nx  b  {since}\n")
    Path("list.txt").write_text("y\nghost\n", encoding="utf-8")
    as_json = cli("where", "x", "--things", "list.txt", "--inventory", "fleet.db", "--json")
    assert as_json.code == as_json.json["exit"] == 3
    assert {thing: [at["core"] for at in cores] for thing, cores in as_json.json["things"].items()} == {
        "x": ["a", "b"],
        "y": ["a"],
        "ghost": [],
    }
    assert (as_json.json["missing"], as_json.json["found"], as_json.json["scan"]) == (["ghost"], 2, None)
    assert len(simulator.service.counters.log) == sent
    after_scan = cli("where", "y", *SCAN_OPTIONS, "--json")
    assert after_scan.code == 0
    assert after_scan.json["scan"]["requests"]["sent"] == 3
    assert "at least one request per core, at most 500 requests/s" in after_scan.err


def test_where_partial_snapshot_is_noted(cli: CommandRunner, serve: StartSimulator) -> None:
    """A snapshot of some cores is reported as partial."""
    serve(small_fleet(3, 4))
    assert cli("inventory", *SCAN_OPTIONS, "--out", "some.db", "--status", "UNHEALTHY").code == 0
    result = cli("where", "thing-1-1", "--inventory", "some.db", "--json")
    assert (result.code, result.json["partial"]) == (3, "only cores that match its filters")
    assert "some.db holds only cores that match its filters; things on other cores are not found" in result.err
    assert cli("inventory", *SCAN_OPTIONS).code == 0
    assert cli("where", "thing-1-1", "--inventory", "fleet.db", "--json").json["partial"] is None
