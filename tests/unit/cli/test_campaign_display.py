"""Tests of the one display of all targets of a campaign."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest

from asyncgg.cli.campaign_display import CampaignDisplay
from asyncgg.cli.console import Console
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.results import LaneResult

LANES = [CampaignLane(n, name, "1" * 12, "eu-west-1", Path(f"{name}.journal")) for n, name in enumerate("abc")]
START = Progress(100, 0, 0, 0, 100, 0, 0, 0, 0, 30.0, 30.0, 0.0, 4.0)


def test_progress_is_that_of_running_and_ended_targets_together() -> None:
    """A target that has ended counts with its result; one that could not start has no things."""
    running = {"a": replace(START, disassociated=40, pending=60, sent=4, throttled=1), "b": START}
    display = CampaignDisplay(Console(as_json=False, quiet=True), LANES)

    async def run() -> None:
        display.watch_lanes(lambda: running)
        async with display.running():
            first = display.progress()
            assert (first.running, first.ended, first.finished, first.total, first.sent) == (2, 0, 40, 200, 4)
            assert (first.rate, first.seconds_left, first.throttled) == (60.0, 4.0, 1)
            del running["a"]
            display.show_result(LaneResult("a", "partial", 3, "", "", {"disassociated": 90, "failed": 10}))
            display.show_result(LaneResult("c", "aborted", 5, ""))
            last = display.progress()
            assert (last.running, last.ended, last.finished, last.failed, last.total) == (1, 2, 100, 10, 200)
            assert last.rate == 30.0
            display.show_result(LaneResult("c", "complete", 0, "", "", {"total": 7, "disassociated": 7}, {"sent": 1}))
            end = display.progress()
            assert (end.finished, end.total, end.sent) == (107, 207, 5)  # c was too short to be seen running

    asyncio.run(run())


@pytest.mark.parametrize(("quiet", "lines"), [(False, 2), (True, 1)])
def test_quiet_display_shows_messages_only(monkeypatch: pytest.MonkeyPatch, quiet: bool, lines: int) -> None:
    """What a lane says about its state matters to a script, too."""
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    display = CampaignDisplay(Console(as_json=False, quiet=quiet), LANES)

    async def run() -> None:
        async with display.running():
            display.show_message("a", "the lease was lost")
            display.show_result(LaneResult("a", "complete", 0, ""))

    asyncio.run(run())
    assert len(stderr.getvalue().splitlines()) == lines
    assert "a: the lease was lost" in stderr.getvalue()
