"""The canary of a policy run: sent first, verified by listing, then the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.events import RunEnded
from asyncgg.models import RunState
from tests.support.cleanup_harness import GUARDS, CleanupHarness

pytestmark = pytest.mark.usefixtures("no_fsync")

CANARY = f"{GUARDS}canary = 10\n"


async def test_canary_is_sent_and_listed_first(tmp_path: Path) -> None:
    """The canary is sent and its cores are listed before the rest is sent."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    observed: list[int] = []
    # Reads 1 to 7 are the scan: one page of cores, six cores. Read 8 verifies the canary.
    harness.step_hooks["read", 8] = lambda: observed.append(len(harness.removed))
    report = await harness.run()
    assert (report.exit, harness.removed, observed) == (0, harness.expected, [10])
    assert report.canary is not None
    assert (report.canary.things, report.canary.passed) == (10, True)
    ends = [event for event in harness.events if isinstance(event, RunEnded)]
    assert [(end.limit_reached, end.reason) for end in ends] == [
        (True, "limit of 10 things reached; the others are pending"),
        (False, ""),
    ]


async def test_canary_still_listed_aborts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary that is still listed after the last delay aborts the run and prevents a resume."""
    monkeypatch.setattr("asyncgg.cleanup.rollout._DELAYS", (0.0, 0.0))
    harness = CleanupHarness(tmp_path, guards=CANARY)
    harness.step_hooks["sent", 1] = lambda: harness.service.fleet.associate("core-0", harness.sent()[0][1], 0.0)
    report = await harness.run()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    assert report.reason == "1 of the 10 canary things are still listed; the rest was not sent"
    assert len(harness.sent()) == 10
    second = await harness.run()
    assert second.resumed is None
    assert second.run_dir != report.run_dir


async def test_canary_listed_late_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary passes once a lagging list shows the change."""
    monkeypatch.setattr("asyncgg.cleanup.rollout._DELAYS", (0.0, 0.0))
    harness = CleanupHarness(tmp_path, guards=CANARY)
    first: list[str] = []

    def lag() -> None:
        first.append(harness.sent()[0][1])
        harness.service.fleet.associate("core-0", first[0], 0.0)

    harness.step_hooks["sent", 1] = lag
    harness.step_hooks["read", 10] = lambda: harness.service.fleet.disassociate("core-0", first[0])
    report = await harness.run()
    assert (report.exit, harness.removed) == (0, harness.expected)


async def test_canary_failed_thing_aborts(tmp_path: Path) -> None:
    """A failed thing of the canary aborts the run and prevents a resume."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    harness.service.set_faults(["entry:Odd@core-0-000-orphan"])
    report = await harness.run()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    assert report.reason == "1 thing failed during the canary of 10; the rest was not sent"
    assert len({thing for _, thing, _ in harness.sent()}) == 10
    harness.service.set_faults([])
    second = await harness.run()
    assert (second.exit, second.resumed, harness.removed) == (0, None, harness.expected)


async def test_canary_unlisted_core_aborts_resumable(tmp_path: Path) -> None:
    """If a core cannot be listed, the run aborts; the next start verifies the canary again."""
    harness = CleanupHarness(tmp_path, guards=CANARY)
    harness.step_hooks["sent", 2] = lambda: harness.service.set_faults(["validation"])
    report = await harness.run()
    assert report.exit == 4
    assert "cannot verify the canary" in report.reason
    assert report.summary is not None
    assert report.summary.disassociated == 10
    harness.step_hooks.clear()
    harness.service.set_faults([])
    second = await harness.run()
    assert second.resumed is not None
    assert (second.resumed.exit, second.exit, harness.removed) == (0, 0, harness.expected)


async def test_canary_of_small_run_is_skipped(tmp_path: Path) -> None:
    """A run with at most the size of the canary has no canary."""
    harness = CleanupHarness(tmp_path, guards=f"{GUARDS}canary = 36\n")
    report = await harness.run()
    assert (report.exit, report.canary, harness.removed) == (0, None, harness.expected)
