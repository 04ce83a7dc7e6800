"""Rule: what a sweep makes of a service and a network that misbehave is tested here, on virtual time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.backoff import RetryPolicy
from asyncgg.errors import CredentialsError
from asyncgg.events import CoreScanFailed, InvalidNames, PageFailed, Throttled
from asyncgg.inventory import CoreState, ScanOptions, ScanResult, Snapshot, minimum_requests
from asyncgg.model import ClientDevice, CoreDevice, ErrorResponse, NoResponse, RunState
from asyncgg.testing import run_virtual
from asyncgg.transport.reads import Page

from .support import Bench, fleet, held

DENIED = ErrorResponse(403, "AccessDeniedException", "not yours")
MISSING = ErrorResponse(404, "ResourceNotFoundException", "no such core", resource_type="coreDevice")
INVALID = ErrorResponse(400, "ValidationException", "the token is not valid", fields=("nextToken",))
EXPIRED = ErrorResponse(403, "ExpiredTokenException", "expired")
BROKEN = ErrorResponse(500, "InternalServerException", "oops")


def of(core: str, result: Any) -> Callable[[str, str], Any]:
    """Answer every request for this core with `result`."""
    return lambda asked, token: result if asked == core else None


# --- any fleet, any faults ---

FAULTS = ("500=10%", "reset-after=10%", "reset-before=5%", "garbage=10%", "half=5%", "hang=3%", "429=5%", "503=5%")


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.one_of(st.integers(0, 3), st.integers(98, 102), st.integers(195, 305)), max_size=25),
    faults=st.sets(st.sampled_from(FAULTS), max_size=4),
    seed=st.integers(0, 1000),
    quota=st.sampled_from([20.0, float("inf")]),
    adaptive=st.booleans(),
    cut=st.one_of(st.none(), st.integers(1, 40)),
)
def test_the_snapshot_is_the_fleet_whatever_happens(
    sizes: list[int], faults: set[str], seed: int, quota: float, adaptive: bool, cut: int | None
) -> None:
    """Any fleet, any passing faults, throttled or not, cut off after any request and gone on with: the snapshot holds
    every association of the fleet once, and no page is asked for twice but for a fault or the cut."""

    async def sweep(path: Path) -> tuple[ScanResult, Bench]:
        bench = Bench(path, fleet(sizes), fault=tuple(sorted(faults)), seed=seed, rate=quota, burst=3.0)
        if cut is not None and (early := await _cut_after(bench, cut, rate=40.0, adaptive=adaptive)):
            return early, bench
        return await bench.start(rate=40.0, adaptive=adaptive), bench

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        swept, bench = run_virtual(sweep(path))
        assert swept.state is RunState.COMPLETE
        bench.check()
        assert swept.minimum == minimum_requests(sizes)
        if not faults and quota == float("inf") and cut is None:
            assert swept.sent == minimum_requests(sizes)


class _CutError(Exception):
    """What a listener of a test raises to end a start at a given request, as a crash would: nothing is tidied up."""


async def _cut_after(bench: Bench, requests: int, **how: Any) -> ScanResult | None:
    """Cut a start at this request; its result when it came to its end before."""

    def count(core: str, token: str) -> None:
        if len(bench.reads.asked) == requests:
            raise _CutError

    bench.reads.before = count
    try:
        return await bench.start(**how)
    except _CutError:
        return None
    finally:
        bench.reads.before = lambda core, token: None


# --- one by one ---

pytestmark = pytest.mark.virtual


async def test_a_throttled_sweep_slows_down_and_loses_nothing(tmp_path: Path) -> None:
    """Throttles cost no core an attempt: with one attempt each, all are listed under a quota of a third of the rate."""
    bench = Bench(tmp_path / "fleet.db", fleet([120] * 40), rate=30.0, burst=2.0, retry_after="auto")
    swept = await bench.start(rate=90.0, adaptive=True, options=ScanOptions(retry=RetryPolicy(max_attempts=1)))
    bench.check()
    assert swept.state is RunState.COMPLETE
    assert swept.throttled == len(bench.told(Throttled)) > 0
    assert swept.sent == swept.minimum + swept.throttled


async def test_a_core_that_vanishes_is_told_and_is_no_failure(tmp_path: Path) -> None:
    """A 404 in the midst of a core's list: it has no client devices any more, not even those of its first page."""
    bench = Bench(tmp_path / "fleet.db", fleet([250, 3, 250]))
    bench.reads.before = lambda core, token: MISSING if core == "core-002" and token else None
    swept = await bench.start()
    assert swept.state is RunState.COMPLETE
    assert (swept.counts.listed, swept.counts.vanished, swept.counts.associations) == (2, 1, 253)
    assert not [core for core, _ in held(bench.path) if core == "core-002"]
    assert bench.told(CoreScanFailed) == [
        CoreScanFailed("core-002", "vanished", "ResourceNotFoundException", "no such core")
    ]
    assert bench.told(PageFailed) == []


async def test_a_denied_core_is_told_and_counted(tmp_path: Path) -> None:
    """A core that is denied costs one request; the sweep ends, and says which part of the fleet it does not know."""
    bench = Bench(tmp_path / "fleet.db", fleet([3, 3, 3, 3]))
    bench.reads.before = of("core-001", DENIED)
    swept = await bench.start()
    assert (swept.state, swept.counts.denied, swept.failed_share) == (RunState.PARTIAL, 1, 0.25)
    with Snapshot(bench.path) as snapshot:
        assert snapshot.failed_share == 0.25
        (core,) = (core for core in snapshot.cores() if core.state is CoreState.DENIED)
        assert (core.device.name, core.code, core.message) == ("core-001", "AccessDeniedException", "not yours")
    assert [core for core, _ in bench.reads.asked].count("core-001") == 1


async def test_a_core_that_always_fails_is_given_up(tmp_path: Path) -> None:
    """After its attempts are used up a core has failed; what was had of it before stays, and is told as incomplete."""
    bench = Bench(tmp_path / "fleet.db", fleet([250, 1]))
    bench.reads.before = lambda core, token: BROKEN if core == "core-000" and token else None
    swept = await bench.start(options=ScanOptions(retry=RetryPolicy(max_attempts=4)))
    assert (swept.state, swept.counts.failed, swept.counts.associations) == (RunState.PARTIAL, 1, 101)
    assert len(bench.told(PageFailed)) == 4
    assert swept.retried == 3


async def test_denied_everywhere_ends_the_sweep(tmp_path: Path) -> None:
    """Three denied cores and no accepted one: it is the permission; the sweep is unfinished, not a small fleet."""
    bench = Bench(tmp_path / "fleet.db", fleet([1] * 50))
    bench.reads.before = lambda core, token: DENIED if core else None
    swept = await bench.start(rate=10.0)
    assert (swept.state, swept.is_auth_error, swept.failed_share) == (RunState.ABORTED, True, 1.0)
    assert "greengrass:ListClientDevicesAssociatedWithCoreDevice" in swept.reason
    assert swept.sent < 20
    bench.reads.before = lambda core, token: None
    assert (await bench.start()).state is RunState.COMPLETE
    bench.check()


async def test_a_denied_list_of_cores_names_the_permission(tmp_path: Path) -> None:
    """Without the list of cores there is no sweep; the reason says what to grant."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    bench.reads.before = of("", DENIED)
    swept = await bench.start()
    assert (swept.state, swept.is_auth_error, swept.sent) == (RunState.ABORTED, True, 1)
    assert "greengrass:ListCoreDevices" in swept.reason


async def test_a_token_that_is_not_accepted_any_more_begins_its_list_again(tmp_path: Path) -> None:
    """Once for each list, of a core or of the cores; nothing is there twice."""
    bench = Bench(tmp_path / "fleet.db", fleet([250] + [1] * 150))
    refused: set[str] = set()

    def expire(core: str, token: str) -> Any:
        if not token or core in refused:
            return None
        refused.add(core)
        return INVALID

    bench.reads.before = expire
    swept = await bench.start()
    assert refused == {"", "core-000"}
    assert swept.state is RunState.COMPLETE
    bench.check()


async def test_a_token_that_is_never_accepted_fails_its_core(tmp_path: Path) -> None:
    """The second time is the last: no list is begun again for ever."""
    bench = Bench(tmp_path / "fleet.db", fleet([250, 1]))
    bench.reads.before = lambda core, token: INVALID if core and token else None
    swept = await bench.start()
    assert (swept.state, swept.counts.failed) == (RunState.PARTIAL, 1)
    assert swept.sent == 1 + 1 + 4


THINGS = tuple(ClientDevice(f"thing-{number}", 1.0) for number in range(3))
CIRCLES: dict[str, Callable[[str], Page[ClientDevice]]] = {
    "the same token again": lambda token: Page(THINGS, "again"),
    "a token of before": lambda token: Page((ClientDevice(f"t-{token}", 1.0),), {"": "a", "a": "b"}.get(token, "a")),
    "the same page again": lambda token: Page(THINGS, token + "x"),
    "empty pages": lambda token: Page((), token + "x"),
}


@pytest.mark.parametrize("name", CIRCLES)
async def test_a_list_that_turns_in_circles_ends(tmp_path: Path, name: str) -> None:
    """It is read once more, then its core has failed with a reason: no endless loop, and nothing twice."""
    bench = Bench(tmp_path / "fleet.db", fleet([1, 1]))
    bench.reads.before = lambda core, token: CIRCLES[name](token) if core == "core-000" else None
    swept = await bench.start()
    assert (swept.state, swept.counts.failed, swept.counts.listed) == (RunState.PARTIAL, 1, 1)
    assert swept.sent < 60
    assert [event.code for event in bench.told(CoreScanFailed)] == ["RepeatedPages"]
    held(bench.path)


async def test_a_list_of_cores_that_turns_in_circles_is_no_fleet(tmp_path: Path) -> None:
    """Nobody knows what is missing then: the sweep ends unfinished."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    bench.reads.before = lambda core, token: Page((CoreDevice("core-000"),), "again") if not core else None
    swept = await bench.start()
    assert (swept.state, swept.failed_share) == (RunState.ABORTED, 1.0)
    assert "RepeatedPages" in swept.reason


async def test_what_is_told_twice_is_there_once(tmp_path: Path) -> None:
    """Things that come again on a later page, and cores on a later page of cores, are counted and not doubled."""
    bench = Bench(tmp_path / "fleet.db", fleet([1, 1]))
    pages: dict[tuple[str, str], Any] = {
        ("", ""): Page((CoreDevice("core-000"), CoreDevice("core-000")), "more"),
        ("", "more"): Page((CoreDevice("core-000"), CoreDevice("core-001"))),
        ("core-000", ""): Page(THINGS, "more"),
        ("core-000", "more"): Page((*THINGS[1:], ClientDevice("thing-9", 2.0))),
    }
    bench.reads.before = lambda core, token: pages.get((core, token))
    swept = await bench.start()
    assert swept.state is RunState.COMPLETE
    assert (swept.counts.cores, swept.counts.associations, swept.counts.duplicates) == (2, 5, 2)
    assert len(held(bench.path)) == 5


async def test_a_last_page_that_is_empty_ends_the_list(tmp_path: Path) -> None:
    """A token behind a full last page leads to an empty one: one request more, and nothing else."""
    bench = Bench(tmp_path / "fleet.db", fleet([100]))
    full = Page(tuple(ClientDevice(f"core-000-{number:04}", 7.0) for number in range(100)), "more")
    bench.reads.before = lambda core, token: (Page(()) if token else full) if core else None
    swept = await bench.start()
    bench.check()
    assert (swept.state, swept.sent, swept.minimum) == (RunState.COMPLETE, 3, 3)


async def test_odd_names_are_told(tmp_path: Path) -> None:
    """Names that are none are counted and told, and in no list."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    bench.reads.before = lambda core, token: Page(THINGS, invalid_names=("'x/y'", "None")) if core else None
    swept = await bench.start()
    assert (swept.counts.associations, swept.counts.invalid_names) == (3, 2)
    assert bench.told(InvalidNames) == [InvalidNames("core-000", ("'x/y'", "None"))]


async def test_expired_credentials_are_refreshed_once(tmp_path: Path) -> None:
    """A token that expires in mid-sweep costs the requests that were under way, and no attempt of any list."""
    bench = Bench(tmp_path / "fleet.db", fleet([1] * 60), latency_ms=100.0)
    refreshed: list[float] = []
    bench.reads.before = lambda core, token: EXPIRED if len(bench.reads.asked) > 20 and not refreshed else None

    async def refresh() -> None:
        await asyncio.sleep(0.3)
        refreshed.append(bench.loop.time())

    bench.reads.on_refresh = refresh
    swept = await bench.start(options=ScanOptions(retry=RetryPolicy(max_attempts=1)))
    bench.check()
    assert swept.state is RunState.COMPLETE
    assert len(refreshed) == 1
    assert swept.sent == swept.minimum + swept.retried
    assert 1 < swept.retried < 20


async def test_credentials_that_cannot_be_refreshed_end_it(tmp_path: Path) -> None:
    """The sweep stops, resumable, and says that the credentials are the reason."""
    bench = Bench(tmp_path / "fleet.db", fleet([1] * 60))
    bench.reads.before = lambda core, token: EXPIRED if len(bench.reads.asked) > 20 else None

    async def refresh() -> None:
        raise CredentialsError("log in again")

    bench.reads.on_refresh = refresh
    swept = await bench.start()
    assert (swept.state, swept.is_auth_error, swept.reason) == (RunState.ABORTED, True, "log in again")
    bench.reads.before = lambda core, token: None
    assert (await bench.start()).state is RunState.COMPLETE
    bench.check()


async def test_an_endpoint_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """Nobody there: a few tries, then a reason."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    bench.reads.before = lambda core, token: NoResponse("connect", "connection refused", sent=False)
    swept = await bench.start()
    assert swept.state is RunState.ABORTED
    assert "connection refused" in swept.reason
    assert swept.sent < 20


async def test_throttled_without_end_is_given_up(tmp_path: Path) -> None:
    """Nothing accepted for as long as the patience lasts: the sweep stops, resumable."""
    bench = Bench(tmp_path / "fleet.db", fleet([1] * 10), fault=("429@*#2-99999",))
    swept = await bench.start(adaptive=True, options=ScanOptions(stall_timeout=30.0))
    assert swept.state is RunState.ABORTED
    assert "throttled" in swept.reason
