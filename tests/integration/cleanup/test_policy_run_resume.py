"""Rule: what the next start makes of a night that did not end lives here: killed anywhere, stopped, left to rot."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from asyncgg.cleanup.notify import summary_line
from asyncgg.journal import JournalReader
from asyncgg.models import RunState
from asyncgg.storage import FileLock
from asyncgg.transport import Endpoint
from tests.support.cleanup_harness import GUARDS, CleanupHarness

pytestmark = pytest.mark.usefixtures("unsynced")

CANARY = f"{GUARDS}canary = 10\n"
ELSEWHERE = Endpoint("us-east-1", "http://direct", True, "aws", "test")
KILLS = [
    *(("read", number) for number in (1, 4)),  # in the sweep
    *(("ask", number) for number in (1, 9)),  # while deciding
    *(("send", number) for number in (1, 2)),  # in the canary, before the service saw the request
    *(("sent", number) for number in (1, 2)),  # and after it did
    *(("read", number) for number in (8, 9)),  # while the canary is verified
    ("send", 4),  # in the run
    *(("sent", number) for number in (3, 5)),
]


@pytest.mark.parametrize(("kind", "number"), KILLS)
def test_killed_at_any_step(tmp_path: Path, kind: str, number: int) -> None:
    """After kill -9 the next start brings it to the right end: nothing lost, nothing twice but what was in flight."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    assert harness.run_killed(kind, number, concurrency=1)
    before = [(core, thing) for core, thing, _ in harness.sent()]
    report = harness.run_sync()
    assert report.exit == 0, report.reason
    assert harness.removed == harness.expected
    sent = [(core, thing) for core, thing, _ in harness.sent()]
    assert set(sent) == harness.expected
    sent_later = sent[len(before) :]
    assert len(sent_later) == len(set(sent_later))
    twice = set(before) & set(sent_later)
    assert len(twice) <= 18  # of the two requests whose answers were not written down yet
    run_directories = harness.run_directories()
    if report.resumed is not None:  # something had been decided: that is ended first, then this night looks for itself
        assert [run_dir.name for run_dir in run_directories] == [report.resumed.run_dir.name, report.run_dir.name]  # type: ignore[union-attr]
        assert report.reason == "nothing is selected"
        with JournalReader(run_directories[0].journal) as reader:
            assert reader.state() is RunState.COMPLETE
            assert {(row.core, row.thing) for row in reader.outcomes()} == harness.expected
            assert reader.summary().already == len(twice)
    else:
        assert run_directories == [report.run_dir]
    assert all(run_dir.state() == "complete" for run_dir in run_directories)


def test_killed_twice(tmp_path: Path) -> None:
    """A start that goes on with a killed one may be killed itself, in sweep, canary and run; the third one ends it."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    for kind, number in (("read", 3), ("ask", 3), ("sent", 1), ("read", 1), ("send", 2)):
        assert harness.run_killed(kind, number)
    assert harness.run_sync().exit == 0
    assert harness.removed == harness.expected


def test_killed_without_leave_to_go_on(tmp_path: Path) -> None:
    """Where the policy does not say so nothing is gone on with: the night looks anew, and that is right as well."""
    harness = CleanupHarness(tmp_path, state="[state]\nresume-unfinished = false\n")
    assert harness.run_killed("sent", 1)
    report = harness.run_sync()
    assert (report.resumed, report.exit, harness.removed) == (None, 0, harness.expected)
    assert len(harness.run_directories()) == 2


def interrupted_harness(tmp_path: Path, **options: object) -> CleanupHarness:
    """A house whose first night was interrupted in its run."""
    harness = CleanupHarness(tmp_path, **options)  # type: ignore[arg-type]  # a test's own words
    harness.step_hooks["sent", 1] = harness.stop
    harness.run_sync(concurrency=1)
    harness.step_hooks.clear()
    return harness


def test_a_stopped_run_is_gone_on_with(tmp_path: Path) -> None:
    """Its report keeps what was told of sweep and decisions, and tells the new end."""
    harness = interrupted_harness(tmp_path)
    assert 0 < len(harness.removed) < len(harness.expected)
    first = harness.run_directories()[0]
    assert json.loads(first.report.read_text())["state"] == "interrupted"
    report = harness.run_sync()
    assert (report.exit, harness.removed) == (0, harness.expected)
    document = json.loads(first.report.read_text())
    assert (document["state"], document["exit"]) == ("complete", 0)
    assert document["decisions"]["selected"] == len(harness.expected)
    assert document["scan"]["cores"] == 6
    assert document["run"]["things"]["pending"] == 0
    assert summary_line(report).startswith(
        "asyncgg nightly: complete: nothing is selected; before that, asyncgg resumed run"
    )


def test_a_changed_policy_decides_anew(tmp_path: Path) -> None:
    """What is protected since is not removed by yesterday's run, and the warning says why that was left."""
    harness = interrupted_harness(tmp_path)
    before = harness.removed
    harness.guards = '[guards]\nprotect-names = ["precious-*", "core:core-holy", "thing:*-retired"]\n'
    harness.write_policy()
    report = harness.run_sync()
    assert (report.exit, report.resumed) == (0, None)
    assert harness.removed == before | {pair for pair in harness.expected if not pair[1].endswith("-retired")}
    (warning,) = harness.warnings
    assert warning.startswith(f"Not resuming {harness.run_directories()[0].name}: policy or lists changed")


def test_a_changed_list_decides_anew(tmp_path: Path) -> None:
    """What the list of what must stay holds since yesterday stays."""
    harness = interrupted_harness(tmp_path)
    before = harness.removed
    with (tmp_path / "keep.txt").open("a") as keep:
        keep.writelines(f"{thing}\n" for _, thing in harness.expected if thing.startswith("tmp-"))
    assert harness.run_sync().resumed is None
    assert harness.removed == before | {pair for pair in harness.expected if not pair[1].startswith("tmp-")}


@pytest.mark.parametrize("hours", [49, -1])
def test_an_old_run_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """A run that was decided more than two days ago, or in the future of a clock that went back, is decided anew."""
    harness = interrupted_harness(tmp_path)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)
    report = harness.run_sync()
    assert (report.resumed, report.exit) == (None, 0)
    assert harness.warnings == [
        f"Not resuming {harness.run_directories()[0].name}: the scan is older than 48 hours or in the future"
    ]
    assert harness.run_directories()[-1] == report.run_dir


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"target": ELSEWHERE, "account": "1"}, "account 1, us-east-1 (http://direct)"),
        ({"account": "2"}, "account 2, eu-west-1"),
        ({}, "account unknown, eu-west-1"),
    ],
)
def test_a_run_is_not_gone_on_with_elsewhere(tmp_path: Path, how: dict[str, object], told: str) -> None:
    """Another account, an unknown one, another Region: nothing is sent, and the run stays for where it belongs."""
    harness = CleanupHarness(tmp_path)
    harness.step_hooks["sent", 1] = harness.stop
    harness.run_sync(concurrency=1, account="1")
    harness.step_hooks.clear()
    sent = harness.sent()
    report = harness.run_sync(**how)
    assert (report.exit, harness.sent()) == (4, sent)
    assert told in report.reason
    assert len(harness.run_directories()) == 1
    assert harness.run_sync(account="1").exit == 0
    assert harness.removed == harness.expected


def test_an_aborted_run_is_not_gone_on_with(tmp_path: Path) -> None:
    """What a guard stopped is for a person; the next night decides anew and keeps the journal."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}abort-at = 5\nabort-after = 5\n")
    harness.service.set_faults(["entry:Odd"])
    report = harness.run_sync()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    harness.service.set_faults([])
    second = harness.run_sync()
    assert (second.exit, second.resumed, harness.removed) == (0, None, harness.expected)
    assert report.run_dir is not None
    with JournalReader(report.run_dir.journal) as reader:
        assert reader.state() is RunState.ABORTED


# --- a sweep that was left ---


def test_a_killed_sweep_is_gone_on_with(tmp_path: Path) -> None:
    """Killed after its sweep, a night is gone on with by what that saw: no core is listed twice."""
    harness = CleanupHarness(tmp_path)
    assert harness.run_killed("ask", 1)
    report = harness.run_sync()
    assert (report.exit, harness.removed, harness.steps["read"]) == (0, harness.expected, 0)
    assert report.scan is not None
    assert (report.scan.counts.cores, report.scan.sent) == (6, 0)


@pytest.mark.parametrize(
    ("kill", "change"),
    [
        (("read", 3), "region"),
        (("ask", 1), "region"),
        (("ask", 1), "account"),
        (("read", 3), "sources"),
        (("ask", 1), "sources"),
        (("ask", 1), "age"),
        (("read", 3), "clock"),
    ],
)
def test_a_sweep_of_something_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: tuple[str, int], change: str
) -> None:
    """A sweep of another Region, account or choice of cores, or one too old, finished or not, decides nothing."""
    harness = CleanupHarness(tmp_path)
    assert harness.run_killed(*kill)
    options: dict[str, object] = {"region": {"target": ELSEWHERE}, "account": {"account": "2"}}.get(change, {})  # type: ignore[assignment]
    if change == "sources":
        harness.rules += 'status = "HEALTHY"\n'
        harness.write_policy()
    real = time.time
    shift = {"age": 7 * 3600, "clock": -3600}.get(change, 0)
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    report = harness.run_sync(**options)
    assert (report.exit, harness.removed) == (0, harness.expected)
    assert harness.steps["read"] == 7
    assert len(harness.run_directories()) == 2
    assert len(harness.warnings) == 1
    assert harness.warnings[0].startswith(f"Not resuming {harness.run_directories()[0].name}: the scan ")


def test_a_damaged_night_is_left_as_it_is(tmp_path: Path) -> None:
    """A journal that cannot be read may hold what was sent: it is told of, not touched."""
    harness = CleanupHarness(tmp_path)
    assert harness.run_killed("send", 1)
    journal = harness.run_directories()[0].journal
    journal.write_bytes(b"no journal")
    report = harness.run_sync()
    assert (report.exit, harness.removed) == (0, harness.expected)
    assert journal.read_bytes() == b"no journal"
    assert "is not an asyncgg journal" in harness.warnings[0]


@pytest.mark.parametrize("resume", ["true", "false"])
def test_a_run_that_somebody_runs_by_hand(tmp_path: Path, resume: str) -> None:
    """Last night's run, resumed by hand right now, is waited for by a person: two limiters would share one quota."""
    harness = interrupted_harness(tmp_path)
    harness.state = f"[state]\nresume-unfinished = {resume}\n"
    harness.write_policy()
    lock = FileLock(harness.run_directories()[0].journal)
    report = harness.run_sync()
    lock.release()
    assert (report.exit, "the journal is in use" in report.reason) == (4, True)
    assert harness.steps["read"] == 0
