"""Starts after an incomplete policy run: killed at any step, stopped, outdated."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from asyncgg.cleanup.report import summary_line
from asyncgg.journal import JournalReader
from asyncgg.models import RunState
from asyncgg.storage import FileLock
from asyncgg.transport import Endpoint
from tests.support.cleanup_harness import GUARDS, CleanupHarness

pytestmark = pytest.mark.usefixtures("no_fsync")

CANARY = f"{GUARDS}canary = 10\n"
ELSEWHERE = Endpoint("us-east-1", "http://direct", True, "aws", "test")
KILLS = [
    *(("read", number) for number in (1, 4)),  # during the scan
    *(("look-up", number) for number in (1, 9)),  # while deciding
    *(("send", number) for number in (1, 2)),  # in the canary, before the service saw the request
    *(("sent", number) for number in (1, 2)),  # and after it did
    *(("read", number) for number in (8, 9)),  # while the canary is verified
    ("send", 4),  # in the run
    *(("sent", number) for number in (3, 5)),
]


@pytest.mark.parametrize(("kind", "number"), KILLS)
def test_killed_run_is_resumed(tmp_path: Path, kind: str, number: int) -> None:
    """After kill -9 the next start completes the run, resending only in-flight requests."""
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
    assert len(twice) <= 18  # the things of two requests whose replies were not recorded
    run_directories = harness.run_directories()
    if report.resumed is not None:  # decisions existed: that run is completed first
        assert [run_dir.name for run_dir in run_directories] == [report.resumed.run_dir.name, report.run_dir.name]  # type: ignore[union-attr]
        assert report.reason == "nothing is selected"
        with JournalReader(run_directories[0].journal) as reader:
            assert reader.state() is RunState.COMPLETE
            assert {(row.core, row.thing) for row in reader.outcomes()} == harness.expected
            assert reader.summary().already == len(twice)
    else:
        assert run_directories == [report.run_dir]
    assert all(run_dir.state() == "complete" for run_dir in run_directories)


def test_killed_resume_is_resumed(tmp_path: Path) -> None:
    """A resumed run that is killed itself can be resumed."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    for kind, number in (("read", 3), ("look-up", 3), ("sent", 1), ("read", 1), ("send", 2)):
        assert harness.run_killed(kind, number)
    assert harness.run_sync().exit == 0
    assert harness.removed == harness.expected


def test_killed_run_without_resume_option_starts_new_run(tmp_path: Path) -> None:
    """Without resume-unfinished, a killed run is not resumed but planned again."""
    harness = CleanupHarness(tmp_path, state="[state]\nresume-unfinished = false\n")
    assert harness.run_killed("sent", 1)
    report = harness.run_sync()
    assert (report.resumed, report.exit, harness.removed) == (None, 0, harness.expected)
    assert len(harness.run_directories()) == 2


def interrupted_harness(tmp_path: Path, **options: object) -> CleanupHarness:
    """A harness whose first run was interrupted while sending."""
    harness = CleanupHarness(tmp_path, **options)  # type: ignore[arg-type]  # each test passes valid options
    harness.step_hooks["sent", 1] = harness.stop
    harness.run_sync(concurrency=1)
    harness.step_hooks.clear()
    return harness


def test_stopped_run_is_resumed(tmp_path: Path) -> None:
    """The report of a resumed run keeps scan and decisions and has the new end."""
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


def test_changed_policy_starts_new_run(tmp_path: Path) -> None:
    """A run is not resumed after a change of the policy, and a warning gives the reason."""
    harness = interrupted_harness(tmp_path)
    before = harness.removed
    harness.guards = '[guards]\nprotect-names = ["precious-*", "core:core-protected", "thing:*-retired"]\n'
    harness.write_policy()
    report = harness.run_sync()
    assert (report.exit, report.resumed) == (0, None)
    assert harness.removed == before | {pair for pair in harness.expected if not pair[1].endswith("-retired")}
    (warning,) = harness.warnings
    assert warning.startswith(f"Not resuming {harness.run_directories()[0].name}: policy or lists changed")


def test_changed_list_starts_new_run(tmp_path: Path) -> None:
    """A run is not resumed after a change of a `not-in` list."""
    harness = interrupted_harness(tmp_path)
    before = harness.removed
    with (tmp_path / "keep.txt").open("a") as keep:
        keep.writelines(f"{thing}\n" for _, thing in harness.expected if thing.startswith("tmp-"))
    assert harness.run_sync().resumed is None
    assert harness.removed == before | {pair for pair in harness.expected if not pair[1].startswith("tmp-")}


@pytest.mark.parametrize("hours", [49, -1])
def test_old_run_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """A run older than two days, or in the future, is not resumed."""
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
    ("options", "origin"),
    [
        ({"endpoint": ELSEWHERE, "account": "1"}, "account 1, us-east-1 (http://direct)"),
        ({"account": "2"}, "account 2, eu-west-1"),
        ({}, "account unknown, eu-west-1"),
    ],
)
def test_run_of_other_origin_aborts(tmp_path: Path, options: dict[str, object], origin: str) -> None:
    """A run of another account or Region aborts the start; the original one resumes it."""
    harness = CleanupHarness(tmp_path)
    harness.step_hooks["sent", 1] = harness.stop
    harness.run_sync(concurrency=1, account="1")
    harness.step_hooks.clear()
    sent = harness.sent()
    report = harness.run_sync(**options)
    assert (report.exit, harness.sent()) == (4, sent)
    assert origin in report.reason
    assert len(harness.run_directories()) == 1
    assert harness.run_sync(account="1").exit == 0
    assert harness.removed == harness.expected


def test_aborted_run_is_not_resumed(tmp_path: Path) -> None:
    """A run that a limit aborted is not resumed, and its journal is kept."""
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


# --- interrupted scans ---


def test_complete_scan_of_killed_run_is_reused(tmp_path: Path) -> None:
    """A run killed after its scan is resumed without another scan."""
    harness = CleanupHarness(tmp_path)
    assert harness.run_killed("look-up", 1)
    report = harness.run_sync()
    assert (report.exit, harness.removed, harness.steps["read"]) == (0, harness.expected, 0)
    assert report.scan is not None
    assert (report.scan.counts.cores, report.scan.sent) == (6, 0)


@pytest.mark.parametrize(
    ("kill", "change"),
    [
        (("read", 3), "region"),
        (("look-up", 1), "region"),
        (("look-up", 1), "account"),
        (("read", 3), "sources"),
        (("look-up", 1), "sources"),
        (("look-up", 1), "age"),
        (("read", 3), "clock"),
    ],
)
def test_scan_of_other_scope_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: tuple[str, int], change: str
) -> None:
    """A scan of another Region, account or scope, or one too old, is not reused."""
    harness = CleanupHarness(tmp_path)
    assert harness.run_killed(*kill)
    options: dict[str, object] = {"region": {"endpoint": ELSEWHERE}, "account": {"account": "2"}}.get(change, {})  # type: ignore[assignment]
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


def test_damaged_journal_is_left_untouched(tmp_path: Path) -> None:
    """A damaged journal is reported and left untouched."""
    harness = CleanupHarness(tmp_path)
    assert harness.run_killed("send", 1)
    journal = harness.run_directories()[0].journal
    journal.write_bytes(b"no journal")
    report = harness.run_sync()
    assert (report.exit, harness.removed) == (0, harness.expected)
    assert journal.read_bytes() == b"no journal"
    assert "is not an asyncgg journal" in harness.warnings[0]


@pytest.mark.parametrize("resume", ["true", "false"])
def test_journal_in_use_aborts(tmp_path: Path, resume: str) -> None:
    """A start aborts while the journal of the last run is in use."""
    harness = interrupted_harness(tmp_path)
    harness.state = f"[state]\nresume-unfinished = {resume}\n"
    harness.write_policy()
    lock = FileLock(harness.run_directories()[0].journal)
    report = harness.run_sync()
    lock.release()
    assert (report.exit, "the journal is in use" in report.reason) == (4, True)
    assert harness.steps["read"] == 0
