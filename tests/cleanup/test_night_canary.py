"""Rule: the canary of a night lives here: first so many things, then a look whether they have gone, then the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.events import RunEnded
from asyncgg.model import RunState
from tests.cleanup.nightly import GUARDS, House

pytestmark = pytest.mark.usefixtures("unsynced")

CANARY = f"{GUARDS}canary = 10\n"


async def test_the_canary_goes_first(tmp_path: Path) -> None:
    """So many go, their core is listed, then the rest goes; and nobody is told that anything was interrupted."""
    house = House(tmp_path, guards=CANARY)
    seen: list[int] = []
    house.on["read", 8] = lambda: seen.append(len(house.gone))  # 1 list of cores, 6 cores, then the canary's
    report = await house.night()
    assert (report.exit, house.gone, seen) == (0, house.goes, [10])
    assert report.canary is not None
    assert (report.canary.things, report.canary.passed) == (10, True)
    ends = [event for event in house.events if isinstance(event, RunEnded)]
    assert [(end.limit_reached, end.reason) for end in ends] == [
        (True, "the first 10 things have gone, the others wait"),
        (False, ""),
    ]


async def test_a_canary_that_is_still_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the list still shows the first things after its last look, the others are not sent, tonight or tomorrow."""
    monkeypatch.setattr("asyncgg.cleanup.canary._WAITS", (0.0, 0.0))
    house = House(tmp_path, guards=CANARY)
    house.on["sent", 1] = lambda: house.service.fleet.associate("core-0", house.sent()[0][1], 0.0)
    report = await house.night()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    assert report.reason == "of the canary's 10 things 1 are still listed on their core; the others were not sent"
    assert len(house.sent()) == 10
    again = await house.night()
    assert again.resumed is None
    assert again.run_dir != report.run_dir


async def test_a_canary_that_is_slow_to_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that lags is asked again, and the rest goes once it shows the change."""
    monkeypatch.setattr("asyncgg.cleanup.canary._WAITS", (0.0, 0.0))
    house = House(tmp_path, guards=CANARY)
    first: list[str] = []

    def lag() -> None:
        first.append(house.sent()[0][1])
        house.service.fleet.associate("core-0", first[0], 0.0)

    house.on["sent", 1] = lag
    house.on["read", 10] = lambda: house.service.fleet.disassociate("core-0", first[0])
    report = await house.night()
    assert (report.exit, house.gone) == (0, house.goes)


async def test_a_canary_that_fails(tmp_path: Path) -> None:
    """One of the first things that fails keeps the others from being sent, and the run from being gone on with."""
    house = House(tmp_path, guards=CANARY)
    house.service.set_faults(["entry:Odd@core-0-000-orphan"])
    report = await house.night()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    assert report.reason == "1 things failed with the canary's 10; the others were not sent"
    assert len({thing for _, thing, _ in house.sent()}) == 10
    house.service.set_faults([])
    again = await house.night()
    assert (again.exit, again.resumed, house.gone) == (0, None, house.goes)


async def test_a_canary_nobody_can_look_at(tmp_path: Path) -> None:
    """Where the cores cannot be listed again nothing more is sent; the next night looks again before it goes on."""
    house = House(tmp_path, guards=CANARY)
    house.on["sent", 2] = lambda: house.service.set_faults(["validation"])
    report = await house.night()
    assert report.exit == 4
    assert "the canary cannot be verified" in report.reason
    assert report.summary is not None
    assert report.summary.disassociated == 10
    house.on.clear()
    house.service.set_faults([])
    again = await house.night()
    assert again.resumed is not None
    assert (again.resumed.exit, again.exit, house.gone) == (0, 0, house.goes)


async def test_a_small_run_is_no_canary(tmp_path: Path) -> None:
    """With no more things than the canary has, there is nothing to hold back."""
    house = House(tmp_path, guards=f"{GUARDS}canary = 36\n")
    report = await house.night()
    assert (report.exit, report.canary, house.gone) == (0, None, house.goes)
