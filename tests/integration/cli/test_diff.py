"""Tests of `asyncgg diff`, against the simulator."""

from __future__ import annotations

from pathlib import Path

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner

SCAN_OPTIONS = ("--rate", 500, "--quiet")


def test_diff_writes_lines_json_and_list(cli: CommandRunner, serve: StartSimulator) -> None:
    """What appeared and vanished; snapshots of different fleets need --force."""
    simulator = serve(FleetSpec.from_things({"a": ["x", "y"], "b": ["x"]}, now=1_700_000_000.0))
    assert cli("inventory", *SCAN_OPTIONS, "--out", "old.db").code == 0
    simulator.service.fleet.disassociate("a", "x")
    simulator.service.fleet.associate("b", "z", 1_700_000_000.0)
    assert cli("inventory", *SCAN_OPTIONS, "--out", "new.db").code == 0
    result = cli("diff", "old.db", "new.db", "--out", "changes.csv")
    assert result.out.splitlines() == [
        "0 cores appeared",
        "1 association appeared",
        "  + b,z",
        "0 cores vanished",
        "1 association vanished",
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
