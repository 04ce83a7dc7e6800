"""Complete runs of a policy: selection, limits, incomplete scans, failed lookups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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

pytestmark = pytest.mark.usefixtures("no_fsync")


async def test_run_removes_exactly_the_expected_things(tmp_path: Path) -> None:
    """Exactly the expected things are removed; decisions, outcomes and report give reasons."""
    harness = CleanupHarness(tmp_path)
    report = await harness.run()
    assert (report.state, report.exit, report.reason) == (RunState.COMPLETE, 0, "")
    assert harness.removed == harness.expected
    assert report.run_dir is not None
    decisions_by_pair = read_decisions(report.run_dir)
    assert set(decisions_by_pair) == harness.all_pairs
    assert {pair for pair, (verdict, _) in decisions_by_pair.items() if verdict == "selected"} == harness.expected
    assert {
        pair: reason for pair, (verdict, reason) in decisions_by_pair.items() if verdict == "selected"
    } == read_reasons(report.run_dir)
    assert set(read_reasons(report.run_dir).values()) == {
        "orphan: thing-missing, associated-before 7d",
        "retired: thing-group retired",
        "unlisted: name tmp-*, not-in keep.txt",
    }
    assert decisions_by_pair["core-0", "precious-core-0-003-orphan"] == ("protected", "protected by precious-*")
    assert decisions_by_pair["core-protected", "core-protected-000-orphan"] == (
        "protected",
        "protected by core:core-protected",
    )
    assert decisions_by_pair["other-1", "other-1-000-orphan"][0] == "outside"
    assert decisions_by_pair["core-0", "core-0-001-young"][0] == "kept"
    document = json.loads(report.run_dir.report.read_text())
    protected = sum(verdict == "protected" for verdict, _ in decisions_by_pair.values())
    assert document["decisions"]["protected"] == protected
    assert report.summary is not None
    assert report.summary.protected == protected
    assert document["run"]["things"]["disassociated"] == len(harness.expected)
    assert sum(document["decisions"]["reasons"].values()) == len(harness.expected)


async def test_dry_run_sends_nothing(tmp_path: Path) -> None:
    """A dry run scans and decides, but creates no journal and no run folder."""
    harness = CleanupHarness(tmp_path)
    report = await harness.run(dry_run=True)
    assert (report.state, report.exit) == (RunState.PLANNED, 0)
    assert harness.sent() == []
    assert harness.run_directories() == []
    assert report.run_dir is not None
    assert not report.run_dir.journal.exists()
    assert not list(report.run_dir.folder.glob("*journal*"))
    assert {
        pair for pair, (verdict, _) in read_decisions(report.run_dir).items() if verdict == "selected"
    } == harness.expected


@pytest.mark.parametrize(
    ("guard", "reason"),
    [
        ("max-things = 35", "36 things selected, max-things allows 35"),
        ("max-percent = 20", "36 of 150 things selected (24.0 %), max-percent allows 20 %"),
        ("max-percent-per-core = 29", "allows 29 % of a core's things; exceeded on core-0 (9 of 30), core-1"),
    ],
)
async def test_run_over_limit_sends_nothing(tmp_path: Path, guard: str, reason: str) -> None:
    """Each limit of amounts aborts before the first request and keeps the decisions."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}{guard}\n")
    report = await harness.run()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    assert reason in report.reason
    assert harness.sent() == []
    assert report.run_dir is not None
    assert report.run_dir.decisions.exists()
    assert not report.run_dir.journal.exists()
    assert json.loads(report.run_dir.report.read_text())["exit"] == 4


@pytest.mark.parametrize("guard", ["max-things = 36", "max-percent = 24", "max-percent-per-core = 30"])
async def test_run_at_limit_completes(tmp_path: Path, guard: str) -> None:
    """A limit that is reached but not exceeded does not abort."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}{guard}\n")
    assert (await harness.run()).exit == 0
    assert harness.removed == harness.expected


@pytest.mark.parametrize(("denied", "code"), [(1, 4), (0, 0)])
async def test_run_incomplete_scan_aborts(tmp_path: Path, denied: int, code: int) -> None:
    """More unlisted cores than max-failed-share allows abort the run."""
    harness = CleanupHarness(tmp_path, facts=example_facts(cores=48, things=3))
    harness.service.set_faults(["deny@core-7"] if denied else [])
    report = await harness.run()
    assert report.exit == code
    if denied:
        assert "2.0% of the cores could not be listed, max-failed-share allows 1.0%" in report.reason
        assert harness.sent() == []


async def test_run_allowed_incomplete_scan_warns(tmp_path: Path) -> None:
    """Within max-failed-share, other cores are cleaned up and a warning is given."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}max-failed-share = 0.5\n")
    harness.service.set_faults(["deny@core-2"])
    report = await harness.run()
    assert report.exit == 0
    assert harness.removed == {pair for pair in harness.expected if pair[0] != "core-2"}
    assert harness.warnings == ["1 of 6 cores could not be listed; their things are kept"]


async def test_run_empty_list_for_a_thing_group_warns(tmp_path: Path) -> None:
    """A thing group without a listed core is no silent success."""
    arn = "arn:aws:iot:us-east-1:123456789012:thinggroup/site-1"
    harness = CleanupHarness(tmp_path, guards=f"thing-group = '{arn}'\n{GUARDS}")  # continues [sources]
    report = await harness.run()
    assert (report.exit, harness.sent()) == (0, [])
    (warning,) = report.warnings
    assert warning.startswith(f"no core is listed for the thing group {arn}")


async def test_run_failed_lookup_is_partial(tmp_path: Path) -> None:
    """A failed lookup keeps its thing and makes the run partial."""
    harness = CleanupHarness(tmp_path)
    harness.registry.fails = lambda subject: subject == "core-1-000-orphan"
    report = await harness.run()
    assert harness.removed == harness.expected - {("core-1", "core-1-000-orphan")}
    assert (report.state, report.exit) == (RunState.PARTIAL, 3)
    assert report.reason == "1 AWS IoT lookup failed; 1 thing kept (undetermined)"
    assert report.decision_counts is not None
    assert report.decision_counts.by_disposition[Disposition.UNDETERMINED] == 1


async def test_run_all_lookups_fail_is_partial(tmp_path: Path) -> None:
    """Without any lookup, only things that need none are removed, with exit 3."""
    harness = CleanupHarness(tmp_path)
    harness.registry.fails = lambda subject: True
    report = await harness.run()
    assert report.exit == 3
    assert harness.removed == {pair for pair in harness.expected if pair[1].startswith("tmp-")}


async def test_run_wrong_registry_aborts(tmp_path: Path) -> None:
    """A registry without the core devices is of another account or Region."""
    harness = CleanupHarness(tmp_path)
    harness.registry.is_registered = lambda subject: False
    report = await harness.run()
    assert report.exit == 4
    assert "AWS IoT contains none of the core devices core-0, core-1" in report.reason
    assert harness.sent() == []


async def test_run_all_looked_up_things_missing_completes(tmp_path: Path) -> None:
    """Missing things alone do not abort if the registry contains a core device."""
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


async def test_run_things_removed_elsewhere_are_already(tmp_path: Path) -> None:
    """Things removed by others between scan and run count as already disassociated."""
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


async def test_run_vanished_core_completes(tmp_path: Path) -> None:
    """A core that vanishes between scan and run is no failure."""
    harness = CleanupHarness(tmp_path)
    harness.step_hooks["send", 1] = lambda: harness.service.fleet.cores.pop("core-2")
    report = await harness.run()
    assert report.exit == 0
    assert report.summary is not None
    assert (report.summary.disassociated, report.summary.already, report.summary.failed) == (27, 9, 0)


@pytest.mark.parametrize(
    ("guards", "settings", "counts"),
    [
        ("absent = 'fail'", {}, (26, 9, 1)),
        ("missing-cores = 'fail'", {}, (26, 1, 9)),
        ("", {"absent": "fail", "missing_cores": "fail"}, (26, 0, 10)),
        ("absent = 'ok'\nmissing-cores = 'ok'", {"absent": "fail", "missing_cores": "fail"}, (26, 10, 0)),
    ],
)
async def test_run_policy_decides_about_what_vanished(
    tmp_path: Path, guards: str, settings: dict[str, Any], counts: tuple[int, int, int]
) -> None:
    """Whether a thing or core that vanishes after the scan is a failure says the policy, else the settings."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}\n{guards}")

    def vanish() -> None:
        harness.service.fleet.cores.pop("core-2")
        assert harness.service.fleet.disassociate("core-1", "core-1-000-orphan")

    harness.step_hooks["send", 1] = vanish
    report = await harness.run(**settings)
    assert report.summary is not None
    assert (report.summary.disassociated, report.summary.already, report.summary.failed) == counts
    assert report.exit == (3 if counts[2] else 0)


async def test_run_nothing_selected_completes(tmp_path: Path) -> None:
    """If nothing is selected, the run is complete and has no journal."""
    harness = CleanupHarness(tmp_path, facts=[AssociationFact("core-1", "fine", False)])
    report = await harness.run()
    assert (report.state, report.exit, report.reason) == (RunState.COMPLETE, 0, "nothing is selected")
    assert report.run_dir is not None
    assert not report.run_dir.journal.exists()


# --- limits of the settings ---


async def test_run_applies_limits_of_settings(tmp_path: Path) -> None:
    """Limits of the settings apply in addition to those of the policy."""
    (tmp_path / "never.txt").write_text("thing:*-retired\n")
    harness = CleanupHarness(tmp_path)
    report = await harness.run(protect=tmp_path / "never.txt")
    assert report.exit == 0
    assert harness.removed == {pair for pair in harness.expected if not pair[1].endswith("-retired")}
    report = await harness.run(max_things=3)
    assert (report.exit, "max-things allows 3" in report.reason) == (4, True)


async def test_run_journal_has_origin(tmp_path: Path) -> None:
    """The journal has account, Region, endpoint and snapshot for undo and resume."""
    harness = CleanupHarness(tmp_path)
    report = await harness.run(
        account="123456789012", endpoint=Endpoint("eu-west-1", "http://direct", True, "aws", "t")
    )
    assert report.run_dir is not None
    with JournalReader(report.run_dir.journal) as reader:
        meta = reader.meta()
    assert (meta["account"], meta["region"], meta["endpoint"]) == ("123456789012", "eu-west-1", "http://direct")
    assert json.loads(meta["provenance"])["path"] == str(report.run_dir.snapshot.absolute())


def test_example_facts_cover_all_cases() -> None:
    """The example fleet has things to keep and to remove for every reason."""
    examples = example_facts()
    assert sum(fact.is_expected for fact in examples) == 36
    assert any(not fact.registered and not fact.is_expected and fact.age > 7 * DAY for fact in examples)
