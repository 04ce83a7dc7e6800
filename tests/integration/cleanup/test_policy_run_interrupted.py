"""Rule: what breaks a night off, in each of its stages, lives here: signals, the deadline, a full disk, credentials."""

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

pytestmark = pytest.mark.usefixtures("unsynced")

CANARY = f"{GUARDS}canary = 10\n"
STAGES = {
    "sweep": ("read", 2),
    "deciding": ("ask", 3),
    "canary": ("send", 1),
    "verification": ("read", 8),
    "run": ("send", 3),
}
NOTHING_SENT = {"sweep": 0, "deciding": 0}
"""Things that may have gone when it was over; in the later stages there are some."""


def assert_ended(harness: CleanupHarness, report: CleanupReport, code: int, state: RunState, stage: str) -> None:
    """It ended so, its report says it, what had gone is told, and the next start ends everything well."""
    assert (report.exit, report.state) == (code, state), report.reason
    assert report.run_dir is not None
    document = json.loads(report.run_dir.report.read_text())
    assert (document["exit"], document["state"], document["reason"]) == (code, state.value, report.reason)
    assert len(report.reason.splitlines()) == 1
    assert bool(harness.sent()) == (stage not in NOTHING_SENT)
    disassociated = document["run"]["things"]["disassociated"] if document["run"] else 0
    assert disassociated == len(harness.removed)


async def assert_next_run_completes(harness: CleanupHarness) -> None:
    """The next start leaves nothing to be desired."""
    harness.step_hooks.clear()
    harness.registry.expired = False
    harness.service.set_faults([])
    harness.write_policy()
    report = await harness.run()
    assert report.exit == 0, report.reason
    assert harness.removed == harness.expected


@pytest.mark.parametrize("stage", STAGES)
async def test_a_first_signal(tmp_path: Path, stage: str) -> None:
    """In every stage what is in flight ends, exit 130, everything is told; the next start goes on."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    harness.step_hooks[STAGES[stage]] = harness.stop
    report = await harness.run(concurrency=1)
    assert_ended(harness, report, 130, RunState.INTERRUPTED, stage)
    assert "stopped by Ctrl-C" in report.reason
    harness.step_hooks.clear()
    await assert_next_run_completes(harness)
    assert len(harness.run_directories()) == (
        1 if stage in NOTHING_SENT else 2
    )  # a sweep is gone on with, a run is ended first


@pytest.mark.parametrize("stage", STAGES)
async def test_a_second_signal(tmp_path: Path, stage: str) -> None:
    """Cut off in every stage it leaves no lock, no half file in its place, and the next start goes on."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    task = asyncio.create_task(harness.run(concurrency=1))
    harness.step_hooks[STAGES[stage]] = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_next_run_completes(harness)


async def test_the_deadline(tmp_path: Path) -> None:
    """It is one for the whole night: in every stage it ends what is going on, exit 10, and the next start goes on."""

    async def late(stage: str) -> None:
        (tmp_path / stage).mkdir()
        harness = CleanupHarness(tmp_path / stage, guards=f'{CANARY}deadline = "1.5s"\n')
        harness.step_hooks[STAGES[stage]] = lambda: asyncio.sleep(1.6)
        report = await harness.run(concurrency=1)
        assert_ended(harness, report, 10, RunState.DEADLINE, stage)
        assert "deadline" in report.reason
        harness.guards = CANARY
        await assert_next_run_completes(harness)

    await asyncio.gather(*map(late, STAGES))


@pytest.mark.parametrize("stage", STAGES)
async def test_credentials_that_expire(tmp_path: Path, stage: str) -> None:
    """In every stage exit 5 and the words of whoever gives credentials; what had gone is told, the next start right."""
    harness = CleanupHarness(tmp_path, guards=CANARY)

    def expire() -> None:
        harness.registry.expired = True
        harness.service.set_faults(["expired-token"])

    harness.step_hooks[STAGES[stage]] = expire
    report = await harness.run(concurrency=1)
    if stage == "canary":  # its very first request
        assert not harness.removed
        assert report.exit == 5
    else:
        assert_ended(harness, report, 5, RunState.ABORTED, stage)
    assert "log in again" in report.reason
    await assert_next_run_completes(harness)


def limit_file_size() -> None:
    """From now on no file of this process can grow past a few bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(tmp_path: Path, stage: str) -> None:
    """In every stage exit 1, one line that names the file; nothing is lost, and with room again it ends well."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    forked = harness.run_forked(*STAGES[stage], limit_file_size, concurrency=1)
    assert forked is not None
    code, reason, warnings = forked
    assert code == 1, reason
    assert len(reason.splitlines()) == 1
    assert str(tmp_path / "nightly.state") in reason
    assert any("report.json" in words for words in warnings)
    asyncio.run(assert_next_run_completes(harness))


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    """When everything went and only the report finds no room, that is told, with exit 1."""
    harness = CleanupHarness(tmp_path)
    forked = harness.run_forked("sent", 4, make_report_directory(harness))
    assert forked is not None
    assert (forked[0], "report.json" in forked[1]) == (1, True)
    assert harness.removed == harness.expected


def make_report_directory(harness: CleanupHarness) -> Callable[[], None]:
    """What makes a report impossible."""
    return lambda: harness.run_directories()[0].report.mkdir()


async def test_a_ramp_and_a_canary_are_those_of_the_policy_again(tmp_path: Path) -> None:
    """A run that is gone on with has its guards again: the canary is verified before the rest goes."""
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
    assert observed == [2]  # both cores of the canary had been listed before anything more went
