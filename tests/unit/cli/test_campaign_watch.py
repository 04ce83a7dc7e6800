"""Tests of when the display of a campaign ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asyncgg.cli.campaign_watch import WatchedCampaign, WatchedTarget, watch_campaign
from asyncgg.fleet.campaign import Campaign, CampaignLane
from asyncgg.fleet.results import LaneResult

RUNNING = LaneResult("t", "running", 130, "", running=True)
COMPLETE = LaneResult("t", "complete", 0, "")
PLANNED = LaneResult("t", "planned", 130, "")
NOT_STARTED = LaneResult("t", "planned", 4, "", "not started: t1 failed in a wave before")


def watch(
    monkeypatch: pytest.MonkeyPatch, folder: Path, moments: list[tuple[float, LaneResult, LaneResult]]
) -> list[float]:
    """Watch two targets, whose results are those of the latest moment; the times at which they were shown."""
    Campaign(folder, (CampaignLane(0, "t", "", "eu-west-1", folder / "t.journal"),)).save()
    now, shown = 0.0, list[float]()

    def read(_campaign: Campaign, _now: float) -> WatchedCampaign:
        _, *results = [moment for moment in moments if moment[0] <= now][-1]
        return WatchedCampaign(folder, tuple(map(WatchedTarget, results)))

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        assert now < 1000, "does not end"

    @contextmanager
    def open_display(*_: object) -> Iterator[tuple[Callable[[Any], None], float]]:
        yield (lambda moment: shown.append(now)), 1.0

    clock = SimpleNamespace(time=lambda: now, monotonic=lambda: now, sleep=sleep)
    monkeypatch.setattr("asyncgg.cli.campaign_watch.time", clock)
    monkeypatch.setattr("asyncgg.cli.campaign_watch.read_campaign", read)
    watch_campaign(folder, open_display)
    return shown


def test_display_waits_for_the_next_wave(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Minutes can pass before a target of the next wave runs, for example while its cores are listed."""
    moments = [
        (0.0, RUNNING, PLANNED),
        (10.0, COMPLETE, PLANNED),
        (300.0, COMPLETE, RUNNING),
        (310.0, COMPLETE, COMPLETE),
    ]
    assert watch(monkeypatch, tmp_path, moments)[-1] == 309.0


@pytest.mark.parametrize("other", [COMPLETE, NOT_STARTED])
def test_display_ends_with_the_last_target_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: LaneResult
) -> None:
    """One that a failed wave kept from starting is not waited for."""
    stopped = LaneResult("t", "aborted", 5, "", "expired")
    assert watch(monkeypatch, tmp_path, [(0.0, RUNNING, other), (5.0, stopped, other)])[-1] == 14.0


def test_display_of_a_stopped_campaign_waits_for_resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A campaign that has not run since the display began is continued later."""
    stopped = LaneResult("t", "interrupted", 130, "", "stopped by Ctrl-C")
    moments = [(0.0, stopped, stopped), (600.0, RUNNING, RUNNING), (601.0, COMPLETE, COMPLETE)]
    assert watch(monkeypatch, tmp_path, moments)[-1] == 600.0
