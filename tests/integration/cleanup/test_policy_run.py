"""Rule: whole nights live here: that exactly the right ones go, that guards and doubt send nothing, what is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncgg.cleanup.select import Disposition
from asyncgg.journal import JournalReader
from asyncgg.models import RunState
from asyncgg.transport import Endpoint
from tests.support.cleanup_harness import (
    DAY,
    GUARDS,
    AssociationFact,
    CleanupHarness,
    example_facts,
    read_decisions,
    read_reasons,
)

pytestmark = pytest.mark.usefixtures("unsynced")


async def test_exactly_the_right_ones_go(tmp_path: Path) -> None:
    """What the facts say must go goes, nothing else, and decisions, outcomes and report explain it."""
    harness = CleanupHarness(tmp_path)
    report = await harness.run()
    assert (report.state, report.exit, report.reason) == (RunState.COMPLETE, 0, "")
    assert harness.removed == harness.expected
    assert report.run_dir is not None
    decisions_by_pair = read_decisions(report.run_dir)
    assert set(decisions_by_pair) == harness.all_pairs
    assert {pair for pair, (verdict, _) in decisions_by_pair.items() if verdict == "selected"} == harness.expected
    assert {pair: why for pair, (verdict, why) in decisions_by_pair.items() if verdict == "selected"} == read_reasons(
        report.run_dir
    )
    assert set(read_reasons(report.run_dir).values()) == {
        "orphan: thing-missing, associated-before 7d",
        "retired: thing-group retired",
        "unlisted: name tmp-*, not-in keep.txt",
    }
    assert decisions_by_pair["core-0", "precious-core-0-003-orphan"] == ("protected", "protected by precious-*")
    assert decisions_by_pair["core-holy", "core-holy-000-orphan"] == ("protected", "protected by core:core-holy")
    assert decisions_by_pair["other-1", "other-1-000-orphan"][0] == "outside"
    assert decisions_by_pair["core-0", "core-0-001-young"][0] == "kept"
    document = json.loads(report.run_dir.report.read_text())
    protected = sum(verdict == "protected" for verdict, _ in decisions_by_pair.values())
    assert document["decisions"]["protected"] == protected
    assert report.summary is not None
    assert report.summary.protected == protected
    assert document["run"]["things"]["disassociated"] == len(harness.expected)
    assert sum(document["decisions"]["reasons"].values()) == len(harness.expected)


async def test_a_dry_run_sends_nothing(tmp_path: Path) -> None:
    """It sweeps and decides, leaves the decisions to be read and no run, and begins no night."""
    harness = CleanupHarness(tmp_path)
    report = await harness.run(dry_run=True)
    assert (report.state, report.exit) == (RunState.PLANNED, 0)
    assert harness.sent() == []
    assert harness.run_directories() == []
    assert report.run_dir is not None
    assert not report.run_dir.journal.exists()
    assert not report.run_dir.journal_draft.exists()
    assert {
        pair for pair, (verdict, _) in read_decisions(report.run_dir).items() if verdict == "selected"
    } == harness.expected


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        ("max-things = 35", "36 things are selected, max-things allows 35"),
        ("max-percent = 20", "36 of 150 things are selected (24.0 %), max-percent allows 20 %"),
        ("max-percent-per-core = 29", "allows 29 % of a core's things; exceeded on core-0 (9 of 30), core-1"),
    ],
)
async def test_too_many_send_nothing(tmp_path: Path, guard: str, words: str) -> None:
    """Each guard of amounts stops the night before its first request, and leaves the decisions to be looked at."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}{guard}\n")
    report = await harness.run()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    assert words in report.reason
    assert harness.sent() == []
    assert report.run_dir is not None
    assert report.run_dir.decisions.exists()
    assert not report.run_dir.journal.exists()
    assert json.loads(report.run_dir.report.read_text())["exit"] == 4


@pytest.mark.parametrize("guard", ["max-things = 36", "max-percent = 24", "max-percent-per-core = 30"])
async def test_just_not_too_many_go(tmp_path: Path, guard: str) -> None:
    """What a guard allows to the last is no reason to stop."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}{guard}\n")
    assert (await harness.run()).exit == 0
    assert harness.removed == harness.expected


@pytest.mark.parametrize(("denied", "code"), [(1, 4), (0, 0)])
async def test_an_incomplete_view_is_no_small_fleet(tmp_path: Path, denied: int, code: int) -> None:
    """Two percent of the cores that cannot be listed stop the night where one is allowed."""
    harness = CleanupHarness(tmp_path, facts=example_facts(cores=48, things=3))
    harness.service.set_faults(["deny@core-7"] if denied else [])
    report = await harness.run()
    assert report.exit == code
    if denied:
        assert "2.0% of the cores could not be listed, max-failed-share allows 1.0%" in report.reason
        assert harness.sent() == []


async def test_cores_that_may_be_missing_keep_what_they_hold(tmp_path: Path) -> None:
    """Within the allowed share the others are cleaned up, and a warning tells of the rest."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}max-failed-share = 0.5\n")
    harness.service.set_faults(["deny@core-2"])
    report = await harness.run()
    assert report.exit == 0
    assert harness.removed == {pair for pair in harness.expected if pair[0] != "core-2"}
    assert harness.warnings == ["1 of 6 cores could not be listed; their things are kept"]


async def test_doubt_keeps_and_is_told(tmp_path: Path) -> None:
    """What AWS IoT does not answer selects nothing, the rest goes, and the night does not pass for complete."""
    harness = CleanupHarness(tmp_path)
    harness.registry.fails = lambda subject: subject == "core-1-000-orphan"
    report = await harness.run()
    assert harness.removed == harness.expected - {("core-1", "core-1-000-orphan")}
    assert (report.state, report.exit) == (RunState.PARTIAL, 3)
    assert report.reason == "1 AWS IoT lookups failed; 1 things kept (undetermined)"
    assert report.decision_counts is not None
    assert report.decision_counts.by_disposition[Disposition.UNDETERMINED] == 1


async def test_a_registry_that_answers_nothing(tmp_path: Path) -> None:
    """When nobody can be asked, what needs no asking goes, and exit 3 says that this was not all."""
    harness = CleanupHarness(tmp_path)
    harness.registry.fails = lambda subject: True
    report = await harness.run()
    assert report.exit == 3
    assert harness.removed == {pair for pair in harness.expected if pair[1].startswith("tmp-")}


async def test_another_registry_removes_nothing(tmp_path: Path) -> None:
    """A registry that knows not even the core devices is another one: its missing things are not ours."""
    harness = CleanupHarness(tmp_path)
    harness.registry.is_registered = lambda subject: False
    report = await harness.run()
    assert report.exit == 4
    assert "AWS IoT contains none of the core devices core-0, core-1" in report.reason
    assert harness.sent() == []


async def test_only_orphans_may_be_asked_for(tmp_path: Path) -> None:
    """A narrow rule may ask for nothing but missing things; their core devices prove that it is the right registry."""
    orphan_facts = [AssociationFact("core-1", f"gone-{number}", True, registered=False) for number in range(20)]
    orphan_facts += [AssociationFact("core-1", f"fine-{number}", False) for number in range(20)]
    harness = CleanupHarness(
        tmp_path, facts=orphan_facts, rules="[[rule]]\nid = 'narrow'\nthing-missing = true\nname = 'gone-*'\n"
    )
    report = await harness.run()
    assert report.registry_queries is not None
    assert (report.registry_queries.things, report.registry_queries.missing) == (20, 20)
    assert report.exit == 0
    assert harness.removed == harness.expected


async def test_another_operator_was_faster(tmp_path: Path) -> None:
    """What somebody else removes between sweep and run is no failure, and is reported as found so already."""
    harness = CleanupHarness(tmp_path)
    removed_elsewhere = sorted(harness.expected)[:5]

    def remove() -> None:
        for core, thing in removed_elsewhere:
            harness.service.fleet.disassociate(core, thing)

    harness.step_hooks["send", 1] = remove
    report = await harness.run()
    assert (report.exit, harness.removed) == (0, harness.expected)
    assert report.summary is not None
    assert (report.summary.already, report.summary.failed) == (5, 0)


async def test_a_core_that_went_takes_its_things_along(tmp_path: Path) -> None:
    """A core that vanishes between sweep and run holds nothing any more: no failure either."""
    harness = CleanupHarness(tmp_path)
    harness.step_hooks["send", 1] = lambda: harness.service.fleet.cores.pop("core-2")
    report = await harness.run()
    assert report.exit == 0
    assert report.summary is not None
    assert (report.summary.disassociated, report.summary.failed) == (36, 0)


async def test_an_empty_fleet_is_no_fault(tmp_path: Path) -> None:
    """Cores without things, or nothing that a rule selects: complete, and no run is left."""
    harness = CleanupHarness(tmp_path, facts=[AssociationFact("core-1", "fine", False)])
    report = await harness.run()
    assert (report.state, report.exit, report.reason) == (RunState.COMPLETE, 0, "nothing is selected")
    assert report.run_dir is not None
    assert not report.run_dir.journal.exists()


# --- guards of the settings ---


async def test_a_guard_of_the_settings_holds_too(tmp_path: Path) -> None:
    """A guard that is set for all of asyncgg is not off because the policy does not name it."""
    (tmp_path / "never.txt").write_text("thing:*-retired\n")
    harness = CleanupHarness(tmp_path)
    report = await harness.run(protect=tmp_path / "never.txt")
    assert report.exit == 0
    assert harness.removed == {pair for pair in harness.expected if not pair[1].endswith("-retired")}
    report = await harness.run(max_things=3)
    assert (report.exit, "max-things allows 3" in report.reason) == (4, True)


async def test_a_night_needs_its_own_target(tmp_path: Path) -> None:
    """The journal knows account, Region and evidence, so that undo and resume go where the night went."""
    harness = CleanupHarness(tmp_path)
    report = await harness.run(account="123456789012", target=Endpoint("eu-west-1", "http://direct", True, "aws", "t"))
    assert report.run_dir is not None
    with JournalReader(report.run_dir.journal) as reader:
        meta = reader.meta()
    assert (meta["account"], meta["region"], meta["endpoint"]) == ("123456789012", "eu-west-1", "http://direct")
    assert json.loads(meta["provenance"])["path"] == str(report.run_dir.snapshot.absolute())


def test_the_facts_are_worth_it() -> None:
    """The fleet of these tests has every case: going and staying, by every reason."""
    examples = example_facts()
    assert sum(one.is_expected for one in examples) == 36
    assert any(not one.registered and not one.is_expected and one.age > 7 * DAY for one in examples)
