"""Rule: what breaks a night off, in each of its stages, lives here: signals, the deadline, a full disk, credentials."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncgg.cleanup.outcome import CleanupReport
from asyncgg.model import RunState
from tests.cleanup.nightly import GUARDS, House

pytestmark = pytest.mark.usefixtures("unsynced")

CANARY = f"{GUARDS}canary = 10\n"
STAGES = {
    "sweep": ("read", 2),
    "deciding": ("ask", 3),
    "canary": ("send", 1),
    "verification": ("read", 8),
    "run": ("send", 3),
}
SENT = {"sweep": 0, "deciding": 0}
"""Things that may have gone when it was over; in the later stages there are some."""


def settled(house: House, report: CleanupReport, code: int, state: RunState, stage: str) -> None:
    """It ended so, its report says it, what had gone is told, and the next start ends everything well."""
    assert (report.exit, report.state) == (code, state), report.reason
    assert report.run_dir is not None
    document = json.loads(report.run_dir.report.read_text())
    assert (document["exit"], document["state"], document["reason"]) == (code, state.value, report.reason)
    assert len(report.reason.splitlines()) == 1
    assert bool(house.sent()) == (stage not in SENT)
    done = document["run"]["things"]["disassociated"] if document["run"] else 0
    assert done == len(house.gone)


async def ends_well(house: House) -> None:
    """The next start leaves nothing to be desired."""
    house.on.clear()
    house.registry.expired = False
    house.service.set_faults([])
    house.write()
    report = await house.night()
    assert report.exit == 0, report.reason
    assert house.gone == house.goes


@pytest.mark.parametrize("stage", STAGES)
async def test_a_first_signal(tmp_path: Path, stage: str) -> None:
    """In every stage what is in flight ends, exit 130, everything is told; the next start goes on."""
    house = House(tmp_path, guards=CANARY)
    house.on[STAGES[stage]] = house.stop
    report = await house.night(concurrency=1)
    settled(house, report, 130, RunState.INTERRUPTED, stage)
    assert "stopped by Ctrl-C" in report.reason
    house.on.clear()
    await ends_well(house)
    assert len(house.nights()) == (1 if stage in SENT else 2)  # a sweep is gone on with, a run is ended first


@pytest.mark.parametrize("stage", STAGES)
async def test_a_second_signal(tmp_path: Path, stage: str) -> None:
    """Cut off in every stage it leaves no lock, no half file in its place, and the next start goes on."""
    house = House(tmp_path, guards=CANARY)
    task = asyncio.create_task(house.night(concurrency=1))
    house.on[STAGES[stage]] = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    await ends_well(house)


async def test_the_deadline(tmp_path: Path) -> None:
    """It is one for the whole night: in every stage it ends what is going on, exit 10, and the next start goes on."""

    async def late(stage: str) -> None:
        (tmp_path / stage).mkdir()
        house = House(tmp_path / stage, guards=f'{CANARY}deadline = "1.5s"\n')
        house.on[STAGES[stage]] = lambda: asyncio.sleep(1.6)
        report = await house.night(concurrency=1)
        settled(house, report, 10, RunState.DEADLINE, stage)
        assert "the deadline came" in report.reason
        house.guards = CANARY
        await ends_well(house)

    await asyncio.gather(*map(late, STAGES))


@pytest.mark.parametrize("stage", STAGES)
async def test_credentials_that_expire(tmp_path: Path, stage: str) -> None:
    """In every stage exit 5 and the words of whoever gives credentials; what had gone is told, the next start right."""
    house = House(tmp_path, guards=CANARY)

    def expire() -> None:
        house.registry.expired = True
        house.service.set_faults(["expired-token"])

    house.on[STAGES[stage]] = expire
    report = await house.night(concurrency=1)
    if stage == "canary":  # its very first request
        assert not house.gone
        assert report.exit == 5
    else:
        settled(house, report, 5, RunState.ABORTED, stage)
    assert "log in again" in report.reason
    await ends_well(house)


def full_disk() -> None:
    """From now on no file of this process can grow past a few bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(tmp_path: Path, stage: str) -> None:
    """In every stage exit 1, one line that names the file; nothing is lost, and with room again it ends well."""
    house = House(tmp_path, guards=CANARY)
    told = house.apart(*STAGES[stage], full_disk, concurrency=1)
    assert told is not None
    code, reason, warnings = told
    assert code == 1, reason
    assert len(reason.splitlines()) == 1
    assert str(tmp_path / "night.state") in reason
    assert any("report.json" in words for words in warnings)
    asyncio.run(ends_well(house))


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    """When everything went and only the report finds no room, that is told, with exit 1."""
    house = House(tmp_path)
    told = house.apart("sent", 4, make_report_a_folder(house))
    assert told is not None
    assert (told[0], "report.json" in told[1]) == (1, True)
    assert house.gone == house.goes


def make_report_a_folder(house: House) -> Callable[[], None]:
    """What makes a report impossible."""
    return lambda: house.nights()[0].report.mkdir()


async def test_a_ramp_and_a_canary_are_those_of_the_policy_again(tmp_path: Path) -> None:
    """A run that is gone on with has its guards again: the canary is verified before the rest goes."""
    house = House(tmp_path, guards=CANARY)
    house.on["send", 2] = house.stop
    await house.night(concurrency=1)
    assert len(house.gone) == 10
    house.on.clear()
    seen: list[int] = []
    house.on["send", 1] = lambda: seen.append(house.steps["read"])
    report = await house.night()
    assert report.resumed is not None
    assert report.resumed.canary is not None
    assert report.resumed.canary.passed
    assert seen == [2]  # both cores of the canary had been listed before anything more went
