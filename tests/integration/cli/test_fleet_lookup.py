"""Tests of campaigns of things in all targets, and of the undo of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asyncgg.simulator import FleetSpec, Simulator
from tests.integration.cli.conftest import StartTargets
from tests.support.command_line import CommandRunner

THINGS = ("--things", "things.txt", "--targets", "targets.toml")
RUN = ("fleet", "disassociate", *THINGS, "--campaign", "camp", "--yes", "--json")
PLAN = FleetSpec.from_things({"core-1": ["a", "b", "c"], "core-2": ["a"]}, now=1000.0)


def write_things(*names: str) -> None:
    """Write things.txt."""
    Path("things.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def remaining(simulators: list[Simulator]) -> list[int]:
    """The number of associations of each target."""
    return [sum(map(len, simulator.service.fleet.things.values())) for simulator in simulators]


def exits(document: Any) -> dict[str, int]:
    """The exit code by target."""
    return {target["name"]: target["exit"] for target in document["targets"]}


def test_things_are_found_in_all_targets_and_undone(cli: CommandRunner, targets: StartTargets) -> None:
    """A broken target ends alone, the same command finishes it, and undo restores exactly what was removed."""
    simulators = targets({}, {"fault": ("expired-token",)}, {}, plan=PLAN)
    write_things("a", "missing")
    result = cli(*RUN)
    assert (result.code, exits(result.json)) == (5, {"t1": 0, "t3": 0, "t2": 5})
    assert "1 thing in no target that was listed: missing" in result.err
    assert remaining(simulators) == [2, 4, 2]
    assert exits(cli("report", "camp", "--markdown", "page.md", "--json").json) == {"t1": 0, "t3": 0, "t2": 5}
    assert "| t2 |" in Path("page.md").read_text(encoding="utf-8")
    assert "1 target left out" in cli("watch", "camp").out

    write_things("a", "b")
    assert "campaign of another list" in cli(*RUN).err
    write_things("missing", "a")
    simulators[1].service.set_faults(())
    again = cli(*RUN)
    assert (again.code, exits(again.json)) == (0, {"t1": 0, "t2": 0, "t3": 0})
    assert again.json["things"]["disassociated"] == 6
    assert remaining(simulators) == [2, 2, 2]
    assert sorted(path.name for path in Path("camp").glob("*.db")) == [f"t{number}.fleet.db" for number in (1, 2, 3)]

    Path("only.csv").write_text("core,thing\ncore-1,a\n", encoding="utf-8")
    assert cli("undo", "camp", "--only", "only.csv", "--dry-run", "--json").json["things"] == 3
    undone = cli("undo", "camp", "--yes", "--journal", "back", "--json", "--metrics-file", "undo.prom")
    assert (undone.code, undone.json["things"]["associated"]) == (0, 6)
    assert remaining(simulators) == [4, 4, 4]
    assert 'state="associated",target="t3"} 2.0' in Path("undo.prom").read_text(encoding="utf-8")
    assert "is not available to verify a campaign" in cli("verify", "back", "--metrics-file", "verify.prom").err
    assert cli("verify", "back", "--json").json["exit"] == 0
    assert "back/t1.journal, 2 of 2 things" in cli("report", "camp/t1.journal").out
    assert cli("undo", "back/t2.journal", "--yes").code == 0, "each is an ordinary journal"
    assert remaining(simulators) == [4, 2, 4]


def test_undo_leaves_out_a_target_that_cannot_be_undone(cli: CommandRunner, targets: StartTargets) -> None:
    """Its journal is missing; a manifest proves nothing unless the user says so."""
    simulators = targets({}, {}, plan=PLAN)
    assert cli("fleet", "disassociate", "fleet.csv", *THINGS[2:], "--campaign", "camp", "--yes").code == 0
    refused = cli("undo", "camp", "--yes", "--journal", "back")
    assert refused.code == 2
    assert refused.err.count("--assume-associated") == 2
    assert not Path("back").exists()
    unknown = cli("undo", "camp", "--assume-associated", "--yes", "--profile", "x")
    assert "--profile would be the same for all targets" in unknown.err
    Path("camp/t1.journal").unlink()
    result = cli("undo", "camp", "--assume-associated", "--yes", "--journal", "back", "--json")
    assert (result.code, exits(result.json)) == (2, {"t2": 0, "t1": 2})
    assert remaining(simulators) == [0, 4]


def test_journals_without_campaign_file_are_not_continued(cli: CommandRunner, targets: StartTargets) -> None:
    """They are of a preparation that was killed, of whatever list."""
    targets({}, plan=PLAN)
    write_things("a")
    assert cli(*RUN).code == 0
    Path("camp/campaign.toml").unlink()
    for command in (RUN, ("fleet", "disassociate", "fleet.csv", *RUN[4:])):
        result = cli(*command)
        assert (result.code, "has journals but no campaign.toml" in result.err) == (2, True)


def test_snapshot_before_the_run_makes_undo_possible(cli: CommandRunner, targets: StartTargets) -> None:
    """A target that could not be listed sends nothing, also not by its journal alone; resume lists it first."""
    simulators = targets({}, {"fault": ("expired-token",)}, {"fault": ("deny@core-2",)}, plan=PLAN)
    run = ("fleet", "disassociate", "fleet.csv", *THINGS[2:], "--campaign", "camp", "--yes", "--json", "--snapshot")
    result = cli(*run)
    assert (result.code, exits(result.json)) == (5, {"t1": 0, "t2": 5, "t3": 4})
    assert remaining(simulators) == [0, 4, 4]
    simulators[1].service.set_faults(())
    assert "its cores are to be listed first" in cli("resume", "camp/t2.journal", "--yes").err
    assert remaining(simulators) == [0, 4, 4]
    simulators[2].service.set_faults(())
    Path("camp/t3.fleet.db").unlink()
    resumed = cli("resume", "camp", "--yes", "--json")
    assert (resumed.code, resumed.json["things"]["disassociated"]) == (0, 12)
    assert cli("undo", "camp", "--yes").code == 0
    assert remaining(simulators) == [4, 4, 4]
    assert cli("undo", "camp/t1.journal", "--dry-run").code == 0
    assert "requires a manifest" in cli(*RUN, "--snapshot").err


def test_some_targets_of_a_campaign_are_undone_and_verified(cli: CommandRunner, targets: StartTargets) -> None:
    """Those with the tag, as the file reaches them; the differences of all targets are one manifest."""
    simulators = targets({}, {}, plan=PLAN)
    write_things("a")
    assert cli(*RUN).code == 0
    file = Path("targets.toml").read_text(encoding="utf-8")
    tagged = file.replace('name = "t2"', 'name = "t2"\ntags = ["x"]\nquota-share = 0.5')
    Path("some.toml").write_text(tagged, encoding="utf-8")
    some = ("--targets", "some.toml", "-t", "x")
    undone = cli("fleet", "undo", "camp", *some, "--campaign", "back", "--yes", "--json")
    assert (undone.code, exits(undone.json)) == (0, {"t2": 0})
    assert remaining(simulators) == [2, 4]
    verified = cli("verify", "camp", "--failures", "left.csv", "--out", "after", "--json")
    assert (verified.code, exits(verified.json)) == (3, {"t1": 0, "t2": 3})
    assert cli("fleet", "verify", "camp", *some, "--json").json["targets"][0]["name"] == "t2"
    assert cli("fleet", "plan", "left.csv", "--targets", "targets.toml", "--json").json["things"] == 2
    assert cli("fleet", "where", "b", "--targets", "targets.toml", "--inventory", "after").code == 0
    Path("some.toml").write_text(tagged.replace("eu-west-1", "eu-west-2"), encoding="utf-8")
    assert "another account or Region" in cli("fleet", "verify", "camp", *some).err
    assert cli("fleet", "undo", "camp", *some[:2], "--max-things", "x", "--yes").code == 2


def test_guards_apply_before_the_first_request(cli: CommandRunner, targets: StartTargets) -> None:
    """The total, a core that could not be listed, and things that are missing; the scans are kept."""
    simulators = targets({}, {"fault": ("deny@core-2",)}, plan=PLAN)
    write_things("a")
    too_many = cli(*RUN, "--max-things", 1)
    assert (too_many.code, "2 things in all targets" in too_many.err) == (4, True)
    assert not list(Path("camp").glob("*.journal"))
    plan = cli("fleet", "plan", *THINGS, "--inventory", "camp", "--json")
    assert [target["name"] for target in plan.json["targets"]] == ["t1"]
    assert [(target["name"], target["exit"]) for target in plan.json["failed"]] == [("t2", 4)]
    write_things("missing")
    assert "1 core could not be listed" in cli(*RUN).err
    nothing = cli(*RUN, "--allow-incomplete")
    assert (nothing.code, "nothing to do in any target" in nothing.err) == (2, True)
    assert remaining(simulators) == [4, 4]
    write_things()
    assert "the list is empty" in cli(*RUN).err
    for wrong in (["fleet.csv"], ["--rejects", "x.csv"], ["--shard", "0/2"]):
        assert cli(*RUN, *wrong).code == 2
