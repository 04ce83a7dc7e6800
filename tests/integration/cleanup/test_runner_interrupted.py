"""Policy runs that are interrupted in each stage: signals, deadline, full disk, credentials."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncgg.cleanup.report import CleanupReport
from asyncgg.models import RunState
from tests.support.cleanup_harness import GUARDS, CleanupHarness

pytestmark = pytest.mark.usefixtures("no_fsync")

CANARY = f"{GUARDS}canary = 10\n"
STAGES = {
    "scan": ("read", 2),
    "deciding": ("look-up", 3),
    "canary": ("send", 1),
    "verification": ("read", 8),
    "run": ("send", 3),
}
NOTHING_SENT = {"scan", "deciding"}
"""Stages in which nothing has been sent."""


def assert_ended(harness: CleanupHarness, report: CleanupReport, code: int, state: RunState, stage: str) -> None:
    """Check exit code, state and report, and that the report counts everything removed."""
    assert (report.exit, report.state) == (code, state), report.reason
    assert report.run_dir is not None
    document = json.loads(report.run_dir.report.read_text())
    assert (document["exit"], document["state"], document["reason"]) == (code, state.value, report.reason)
    assert len(report.reason.splitlines()) == 1
    assert bool(harness.sent()) == (stage not in NOTHING_SENT)
    disassociated = document["run"]["things"]["disassociated"] if document["run"] else 0
    assert disassociated == len(harness.removed)


async def assert_next_run_completes(harness: CleanupHarness) -> None:
    """Check that the next start removes all remaining things."""
    harness.step_hooks.clear()
    harness.registry.expired = False
    harness.service.set_faults([])
    harness.write_policy()
    report = await harness.run()
    assert report.exit == 0, report.reason
    assert harness.removed == harness.expected


@pytest.mark.parametrize("stage", STAGES)
async def test_stop_finishes_in_flight_requests(tmp_path: Path, stage: str) -> None:
    """A stop waits for in-flight requests, exits 130, and the next start resumes."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    harness.step_hooks[STAGES[stage]] = harness.stop
    report = await harness.run(concurrency=1)
    assert_ended(harness, report, 130, RunState.INTERRUPTED, stage)
    assert "stopped by Ctrl-C" in report.reason
    harness.step_hooks.clear()
    await assert_next_run_completes(harness)
    # An interrupted scan is resumed in its folder; an interrupted run is completed first.
    assert len(harness.run_directories()) == (1 if stage in NOTHING_SENT else 2)


@pytest.mark.parametrize("stage", STAGES)
async def test_cancel_leaves_no_lock(tmp_path: Path, stage: str) -> None:
    """A cancelled start leaves no lock and no partial file; the next start resumes."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    task = asyncio.create_task(harness.run(concurrency=1))
    harness.step_hooks[STAGES[stage]] = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_next_run_completes(harness)


async def test_deadline_applies_to_all_stages(tmp_path: Path) -> None:
    """The deadline covers the whole run, exits 10, and the next start resumes."""

    async def run_late(stage: str) -> None:
        (tmp_path / stage).mkdir()
        harness = CleanupHarness(tmp_path / stage, guards=f'{CANARY}deadline = "1.5s"\n')
        harness.step_hooks[STAGES[stage]] = lambda: asyncio.sleep(1.6)
        report = await harness.run(concurrency=1)
        assert_ended(harness, report, 10, RunState.DEADLINE, stage)
        assert "deadline" in report.reason
        harness.guards = CANARY
        await assert_next_run_completes(harness)

    await asyncio.gather(*map(run_late, STAGES))


@pytest.mark.parametrize("stage", STAGES)
async def test_expired_credentials_exit_5(tmp_path: Path, stage: str) -> None:
    """Expired credentials exit 5 with the reason; the next start resumes."""
    harness = CleanupHarness(tmp_path, guards=CANARY)

    def expire() -> None:
        harness.registry.expired = True
        harness.service.set_faults(["expired-token"])

    harness.step_hooks[STAGES[stage]] = expire
    report = await harness.run(concurrency=1)
    if stage == "canary":  # the first request
        assert not harness.removed
        assert report.exit == 5
    else:
        assert_ended(harness, report, 5, RunState.ABORTED, stage)
    assert "log in again" in report.reason
    await assert_next_run_completes(harness)


def limit_file_size() -> None:
    """Keep files of this process from growing past a few bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("stage", STAGES)
def test_full_disk_exits_1(tmp_path: Path, stage: str) -> None:
    """A full disk exits 1 and names the file; the next start completes the run."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    forked = harness.run_forked(*STAGES[stage], limit_file_size, concurrency=1)
    assert forked is not None
    code, reason, warnings = forked
    assert code == 1, reason
    assert len(reason.splitlines()) == 1
    assert str(tmp_path / "nightly.state") in reason
    assert any("report.json" in warning for warning in warnings)
    asyncio.run(assert_next_run_completes(harness))


def test_unwritable_report_exits_1(tmp_path: Path) -> None:
    """A run whose report cannot be written exits 1, although everything was removed."""
    harness = CleanupHarness(tmp_path)
    forked = harness.run_forked("sent", 4, make_report_directory(harness))
    assert forked is not None
    assert (forked[0], "report.json" in forked[1]) == (1, True)
    assert harness.removed == harness.expected


def make_report_directory(harness: CleanupHarness) -> Callable[[], None]:
    """An action that makes the report unwritable."""
    return lambda: harness.run_directories()[0].report.mkdir()


async def test_resumed_run_verifies_canary(tmp_path: Path) -> None:
    """A resumed run verifies the canary before it sends the rest."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    harness.step_hooks["send", 2] = harness.stop
    await harness.run(concurrency=1)
    assert len(harness.removed) == 10
    harness.step_hooks.clear()
    observed: list[int] = []
    harness.step_hooks["send", 1] = lambda: observed.append(harness.steps["read"])
    report = await harness.run()
    assert report.resumed is not None
    assert report.resumed.canary is not None
    assert report.resumed.canary.passed
    assert observed == [2]  # both cores of the canary were listed before the first request
