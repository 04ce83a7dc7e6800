"""Tests of asyncgg.report.timeline."""

from __future__ import annotations

import pytest

from asyncgg.journal import FinishedThings, RunStart, SentRequest
from asyncgg.models import ThingState
from asyncgg.report.timeline import RunningTime, bin_width, group_by_time, percentiles


def _start(started_at: float, ended_at: float) -> RunStart:
    return RunStart("run", started_at, ended_at, 1, 0)


def test_running_time_leaves_out_pauses_between_starts() -> None:
    """A resume after a day continues where the first start ended."""
    time = RunningTime([_start(100.0, 110.0), _start(90_000.0, 90_005.0)])
    assert (time.total, time.offsets) == (15.0, [0.0, 10.0, 15.0])
    assert [time.seconds_at(at) for at in (100.0, 104.0, 110.0, 50_000.0, 90_002.0, 90_009.0)] == [0, 4, 10, 10, 12, 15]


def test_group_by_time_counts_every_request_and_thing() -> None:
    """Requests count when they are sent, latencies and outcomes when they are answered."""
    requests = [
        SentRequest(0.0, 0.5, "accepted"),
        SentRequest(0.9, 1.1, "throttled"),
        SentRequest(1.2, 2.0, "lost"),
    ]
    things = [
        FinishedThings(0.5, ThingState.DISASSOCIATED, 100),
        FinishedThings(1.9, ThingState.FAILED, 2),
        FinishedThings(2.0, ThingState.ALREADY, 1),
    ]
    bins = group_by_time(RunningTime([_start(0.0, 2.0)]), requests, things)
    assert [(item.accepted, item.throttled, item.other) for item in bins] == [(1, 1, 0), (0, 0, 1)]
    assert [(item.done, item.already, item.failed) for item in bins] == [(100, 0, 0), (100, 1, 2)]
    assert bins[0].latencies == (0.5, 0.5, 0.5)
    assert bins[1].latencies == pytest.approx((0.2, 0.8, 0.8))


def test_group_by_time_nothing_sent_is_empty() -> None:
    """A run that did not start has no bins."""
    assert group_by_time(RunningTime([]), [], []) == []


@pytest.mark.parametrize(("seconds", "width"), [(0.5, 1), (60, 1), (61, 2), (3600, 60), (10**7, 166_667)])
def test_bin_width_limits_the_number_of_bins(seconds: float, width: float) -> None:
    """There are at most 60 bins, of a whole number of seconds."""
    assert bin_width(seconds) == width


def test_percentiles_are_of_the_nearest_rank() -> None:
    """Of 1 to 100 they are 50, 90 and 99; without values there is no percentile."""
    assert percentiles(range(100, 0, -1)) == (50, 90, 99)
    assert percentiles([]) is None
