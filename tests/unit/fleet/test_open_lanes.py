"""Tests of what the lanes of one process do together."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from asyncgg.fleet.open_lanes import OpenLanes
from asyncgg.testing import run_virtual


def start_times(opening: dict[str, float], *, release_at: float | None = None) -> dict[str, float]:
    """When lanes begin to send whose opening takes so many seconds; below 0 it fails after so many."""

    async def run() -> dict[str, float]:
        lanes, loop, times = OpenLanes(), asyncio.get_running_loop(), {}
        start = loop.time()

        async def run_lane(name: str, seconds: float) -> None:
            with lanes.add(name):
                await asyncio.sleep(abs(seconds))
                if seconds > 0:
                    await lanes.wait_for_others(name)
                    times[name] = round(loop.time() - start, 6)
                    await asyncio.sleep(100)

        if release_at is not None:
            loop.call_later(release_at, lanes.release)
        async with asyncio.TaskGroup() as group:
            for name, seconds in opening.items():
                group.create_task(run_lane(name, seconds))
        return times

    return run_virtual(run())


def test_lanes_send_when_the_last_one_is_open_or_has_failed() -> None:
    """The slowest lane decides, also if it fails."""
    assert start_times({"a": 1.0, "b": 3.0, "c": 2.0}) == {"a": 3.0, "b": 3.0, "c": 3.0}
    assert start_times({"a": 1.0, "b": -4.0}) == {"a": 4.0}


def test_lanes_do_not_wait_for_one_that_hangs() -> None:
    """After 10 s the open lanes begin, and the late one begins at once."""
    assert start_times({"a": 1.0, "b": 2.0, "c": 60.0}) == {"a": 11.0, "b": 12.0, "c": 60.0}


def test_garbage_is_collected_once_before_lanes_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while they send."""
    collected: list[int] = []
    monkeypatch.setattr("gc.collect", collected.append)
    start_times({"a": 1.0, "b": 3.0, "c": 2.0})
    assert collected == [1]


def test_release_ends_the_wait() -> None:
    """A campaign that stops does not wait for lanes that are being opened."""
    assert start_times({"a": 1.0, "b": 9.0}, release_at=2.0)["a"] == 2.0


@pytest.mark.parametrize(("lanes", "seconds"), [(1, 0.0), (26, 0.1), (500, 0.4)])
def test_commit_interval_grows_with_the_lanes(lanes: int, seconds: float) -> None:
    """A single lane commits as a run does."""

    async def run() -> float:
        open_lanes = OpenLanes()
        with ExitStack() as stack:
            for number in range(lanes):
                stack.enter_context(open_lanes.add(str(number)))
            return open_lanes.commit_interval

    assert asyncio.run(run()) == pytest.approx(seconds)
