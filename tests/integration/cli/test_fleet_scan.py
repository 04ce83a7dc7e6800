"""Tests of `asyncgg fleet inventory` and `where`."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartTargets
from tests.support.command_line import CommandRunner

TARGETS = ("--targets", "targets.toml")


def test_scans_end_alone_and_are_completed(cli: CommandRunner, targets: StartTargets) -> None:
    """The same command scans only what is missing; `where` then names target and account, or what is not searched."""
    simulators = targets({}, {"fault": ("expired-token",)}, {"fault": ("deny@core-2",)})
    result = cli("fleet", "inventory", *TARGETS, "--json")
    ended = {
        target["name"]: (target["exit"], target["kept"]) for target in result.json["targets"] if target["snapshot"]
    }
    assert (result.code, result.json["state"], ended) == (5, "aborted", {"t1": (0, False), "t3": (3, False)})
    assert "expired" in result.json["targets"][1]["reason"]
    used = [simulators[number].service.counters.requests.total() for number in (0, 2)]

    found = cli("fleet", "where", "thing-1-1", "thing-2-1", *TARGETS, "--inventory", "fleet-snapshots", "--json")
    assert found.code == 2
    assert [match["account"] for match in found.json["things"]["thing-1-1"]] == ["1" * 12, "3" * 12]
    assert [match["target"] for match in found.json["things"]["thing-2-1"]] == ["t1"]
    assert "not searched: t2" in found.err
    assert "1 core could not be listed" in found.err

    simulators[1].service.set_faults(())
    again = cli("fleet", "inventory", *TARGETS, "--json")
    assert again.code == 3
    assert [target["kept"] for target in again.json["targets"]] == [True, False, True]
    assert [simulators[number].service.counters.requests.total() for number in (0, 2)] == used
    missing = cli("fleet", "where", "thing-1-1", "nothing", *TARGETS, "--inventory", "fleet-snapshots")
    assert missing.code == 3
    assert missing.out.count("thing-1-1") == 3
    assert "nothing  in no target" in missing.out


def test_where_without_inventory_scans(cli: CommandRunner, targets: StartTargets) -> None:
    """No file is left."""
    plan = FleetSpec.from_things({"core": ["a", "b"]}, now=1000.0)
    targets({}, {}, plan=plan)
    before = sorted(Path().iterdir())
    result = cli("fleet", "where", "a", *TARGETS, "--json")
    assert (result.code, len(result.json["things"]["a"])) == (0, 2)
    assert sorted(Path().iterdir()) == before


def test_snapshot_of_another_fleet_is_refused(cli: CommandRunner, targets: StartTargets) -> None:
    """The names of targets have moved to other accounts; --replace scans again."""
    targets({}, {})
    assert cli("fleet", "inventory", *TARGETS).code == 0
    text = Path("targets.toml").read_text(encoding="utf-8")
    Path("targets.toml").write_text(text.replace('"t1"', '"x"').replace('"t2"', '"t1"').replace('"x"', '"t2"'))
    result = cli("fleet", "inventory", *TARGETS, "--json")
    assert (result.code, result.json["state"]) == (2, "aborted")
    assert "is of account 222222222222, the target of 111111111111" in result.json["targets"][0]["reason"]
    assert cli("fleet", "inventory", *TARGETS, "--replace").code == 0


def test_two_names_of_one_quota_are_refused(cli: CommandRunner, targets: StartTargets) -> None:
    """Two profiles without `account` can be of one account, which its first request shows."""
    targets({}, plan=FleetSpec.from_things({"core": ["a", "b"]}, now=1000.0))
    table = (
        Path("targets.toml").read_text(encoding="utf-8").split("[[target]]")[1].replace(f'account = "{"1" * 12}"', "")
    )
    second = table.replace('"t1"', '"t2"') + 'profile = "two"\n'
    Path("targets.toml").write_text(f"[[target]]{table}\n[[target]]{second}", encoding="utf-8")
    Path("config").write_text(
        "[profile two]\naws_access_key_id = AKIDTWO\naws_secret_access_key = x\n", encoding="utf-8"
    )
    Path("fleet.csv").write_text("core,thing,target\ncore,a,t1\ncore,b,t2\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", "config")
        for command in (("inventory",), ("disassociate", "fleet.csv", "--campaign", "camp", "--yes")):
            document = cli("fleet", *command, *TARGETS, "--json").json
            assert sorted(target["exit"] for target in document["targets"]) == [0, 2]
            assert sum("share one quota" in target["reason"] for target in document["targets"]) == 1
