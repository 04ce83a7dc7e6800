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

from asyncgg.errors import CredentialsError
from asyncgg.events import CoreScanFailed, InvalidNames, PageFailed, Throttled
from asyncgg.inventory import CoreState, ScanOptions, ScanResult, Snapshot, minimum_requests
from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, RunState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.testing import run_virtual
from asyncgg.transport.base import Page
from tests.support.scan import ScanHarness, fleet_of_sizes, snapshot_associations

DENIED = ErrorResponse(403, "AccessDeniedException", "not yours")
MISSING = ErrorResponse(404, "ResourceNotFoundException", "no such core", resource_type="coreDevice")
INVALID = ErrorResponse(400, "ValidationException", "the token is not valid", fields=("nextToken",))
EXPIRED = ErrorResponse(403, "ExpiredTokenException", "expired")
BROKEN = ErrorResponse(500, "InternalServerException", "oops")


def fail_core(core: str, result: Any) -> Callable[[str, str], Any]:
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

    async def sweep(path: Path) -> tuple[ScanResult, ScanHarness]:
        harness = ScanHarness(
            path, fleet_of_sizes(sizes), fault=tuple(sorted(faults)), seed=seed, rate=quota, burst=3.0
        )
        if cut is not None and (early := await _start_and_interrupt(harness, cut, rate=40.0, adaptive=adaptive)):
            return early, harness
        return await harness.start(rate=40.0, adaptive=adaptive), harness

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        result, harness = run_virtual(sweep(path))
        assert result.state is RunState.COMPLETE
        harness.check_snapshot()
        assert result.minimum == minimum_requests(sizes)
        if not faults and quota == float("inf") and cut is None:
            assert result.sent == minimum_requests(sizes)


class _InterruptError(Exception):
    """What a listener of a test raises to end a start at a given request, as a crash would: nothing is tidied up."""


async def _start_and_interrupt(harness: ScanHarness, requests: int, **options: Any) -> ScanResult | None:
    """Cut a start at this request; its result when it came to its end before."""

    def count(core: str, token: str) -> None:
        if len(harness.transport.requests) == requests:
            raise _InterruptError

    harness.transport.intercept = count
    try:
        return await harness.start(**options)
    except _InterruptError:
        return None
    finally:
        harness.transport.intercept = lambda core, token: None


# --- one by one ---

pytestmark = pytest.mark.virtual


async def test_a_throttled_sweep_slows_down_and_loses_nothing(tmp_path: Path) -> None:
    """Throttles cost no core an attempt: with one attempt each, all are listed under a quota of a third of the rate."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([120] * 40), rate=30.0, burst=2.0, retry_after="auto")
    result = await harness.start(rate=90.0, adaptive=True, options=ScanOptions(retry=RetryPolicy(max_attempts=1)))
    harness.check_snapshot()
    assert result.state is RunState.COMPLETE
    assert result.throttled == len(harness.events_of(Throttled)) > 0
    assert result.sent == result.minimum + result.throttled


async def test_a_core_that_vanishes_is_told_and_is_no_failure(tmp_path: Path) -> None:
    """A 404 in the midst of a core's list: it has no client devices any more, not even those of its first page."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([250, 3, 250]))
    harness.transport.intercept = lambda core, token: MISSING if core == "core-002" and token else None
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert (result.counts.listed, result.counts.vanished, result.counts.associations) == (2, 1, 253)
    assert not [core for core, _ in snapshot_associations(harness.path) if core == "core-002"]
    assert harness.events_of(CoreScanFailed) == [
        CoreScanFailed("core-002", "vanished", "ResourceNotFoundException", "no such core")
    ]
    assert harness.events_of(PageFailed) == []


async def test_a_denied_core_is_told_and_counted(tmp_path: Path) -> None:
    """A core that is denied costs one request; the sweep ends, and says which part of the fleet it does not know."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([3, 3, 3, 3]))
    harness.transport.intercept = fail_core("core-001", DENIED)
    result = await harness.start()
    assert (result.state, result.counts.denied, result.failed_share) == (RunState.PARTIAL, 1, 0.25)
    with Snapshot(harness.path) as snapshot:
        assert snapshot.failed_share == 0.25
        (core,) = (core for core in snapshot.cores() if core.state is CoreState.DENIED)
        assert (core.device.name, core.code, core.message) == ("core-001", "AccessDeniedException", "not yours")
    assert [core for core, _ in harness.transport.requests].count("core-001") == 1


async def test_a_core_that_always_fails_is_given_up(tmp_path: Path) -> None:
    """After its attempts are used up a core has failed; what was had of it before stays, and is told as incomplete."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([250, 1]))
    harness.transport.intercept = lambda core, token: BROKEN if core == "core-000" and token else None
    result = await harness.start(options=ScanOptions(retry=RetryPolicy(max_attempts=4)))
    assert (result.state, result.counts.failed, result.counts.associations) == (RunState.PARTIAL, 1, 101)
    assert len(harness.events_of(PageFailed)) == 4
    assert result.retried == 3


async def test_denied_everywhere_ends_the_sweep(tmp_path: Path) -> None:
    """Three denied cores and no accepted one: it is the permission; the sweep is unfinished, not a small fleet."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 50))
    harness.transport.intercept = lambda core, token: DENIED if core else None
    result = await harness.start(rate=10.0)
    assert (result.state, result.is_auth_error, result.failed_share) == (RunState.ABORTED, True, 1.0)
    assert "greengrass:ListClientDevicesAssociatedWithCoreDevice" in result.reason
    assert result.sent < 20
    harness.transport.intercept = lambda core, token: None
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def test_a_denied_list_of_cores_names_the_permission(tmp_path: Path) -> None:
    """Without the list of cores there is no sweep; the reason says what to grant."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = fail_core("", DENIED)
    result = await harness.start()
    assert (result.state, result.is_auth_error, result.sent) == (RunState.ABORTED, True, 1)
    assert "greengrass:ListCoreDevices" in result.reason


async def test_a_token_that_is_not_accepted_any_more_begins_its_list_again(tmp_path: Path) -> None:
    """Once for each list, of a core or of the cores; nothing is there twice."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([250] + [1] * 150))
    refused: set[str] = set()

    def expire(core: str, token: str) -> Any:
        if not token or core in refused:
            return None
        refused.add(core)
        return INVALID

    harness.transport.intercept = expire
    result = await harness.start()
    assert refused == {"", "core-000"}
    assert result.state is RunState.COMPLETE
    harness.check_snapshot()


async def test_a_token_that_is_never_accepted_fails_its_core(tmp_path: Path) -> None:
    """The second time is the last: no list is begun again for ever."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([250, 1]))
    harness.transport.intercept = lambda core, token: INVALID if core and token else None
    result = await harness.start()
    assert (result.state, result.counts.failed) == (RunState.PARTIAL, 1)
    assert result.sent == 1 + 1 + 4


THINGS = tuple(ClientDevice(f"thing-{number}", 1.0) for number in range(3))
PAGE_LOOPS: dict[str, Callable[[str], Page[ClientDevice]]] = {
    "the same token again": lambda token: Page(THINGS, "again"),
    "a token of before": lambda token: Page((ClientDevice(f"t-{token}", 1.0),), {"": "a", "a": "b"}.get(token, "a")),
    "the same page again": lambda token: Page(THINGS, token + "x"),
    "empty pages": lambda token: Page((), token + "x"),
}


@pytest.mark.parametrize("name", PAGE_LOOPS)
async def test_a_list_that_turns_in_circles_ends(tmp_path: Path, name: str) -> None:
    """It is read once more, then its core has failed with a reason: no endless loop, and nothing twice."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1, 1]))
    harness.transport.intercept = lambda core, token: PAGE_LOOPS[name](token) if core == "core-000" else None
    result = await harness.start()
    assert (result.state, result.counts.failed, result.counts.listed) == (RunState.PARTIAL, 1, 1)
    assert result.sent < 60
    assert [event.code for event in harness.events_of(CoreScanFailed)] == ["RepeatedPages"]
    snapshot_associations(harness.path)


async def test_a_list_of_cores_that_turns_in_circles_is_no_fleet(tmp_path: Path) -> None:
    """Nobody knows what is missing then: the sweep ends unfinished."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: Page((CoreDevice("core-000"),), "again") if not core else None
    result = await harness.start()
    assert (result.state, result.failed_share) == (RunState.ABORTED, 1.0)
    assert "RepeatedPages" in result.reason


async def test_what_is_told_twice_is_there_once(tmp_path: Path) -> None:
    """Things that come again on a later page, and cores on a later page of cores, are counted and not doubled."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1, 1]))
    pages: dict[tuple[str, str], Any] = {
        ("", ""): Page((CoreDevice("core-000"), CoreDevice("core-000")), "more"),
        ("", "more"): Page((CoreDevice("core-000"), CoreDevice("core-001"))),
        ("core-000", ""): Page(THINGS, "more"),
        ("core-000", "more"): Page((*THINGS[1:], ClientDevice("thing-9", 2.0))),
    }
    harness.transport.intercept = lambda core, token: pages.get((core, token))
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert (result.counts.cores, result.counts.associations, result.counts.duplicates) == (2, 5, 2)
    assert len(snapshot_associations(harness.path)) == 5


async def test_a_last_page_that_is_empty_ends_the_list(tmp_path: Path) -> None:
    """A token behind a full last page leads to an empty one: one request more, and nothing else."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([100]))
    full = Page(tuple(ClientDevice(f"core-000-{number:04}", 7.0) for number in range(100)), "more")
    harness.transport.intercept = lambda core, token: (Page(()) if token else full) if core else None
    result = await harness.start()
    harness.check_snapshot()
    assert (result.state, result.sent, result.minimum) == (RunState.COMPLETE, 3, 3)


async def test_odd_names_are_told(tmp_path: Path) -> None:
    """Names that are none are counted and told, and in no list."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: Page(THINGS, invalid_names=("'x/y'", "None")) if core else None
    result = await harness.start()
    assert (result.counts.associations, result.counts.invalid_names) == (3, 2)
    assert harness.events_of(InvalidNames) == [InvalidNames("core-000", ("'x/y'", "None"))]


async def test_expired_credentials_are_refreshed_once(tmp_path: Path) -> None:
    """A token that expires in mid-sweep costs the requests that were under way, and no attempt of any list."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 60), latency_ms=100.0)
    refreshed: list[float] = []
    harness.transport.intercept = lambda core, token: (
        EXPIRED if len(harness.transport.requests) > 20 and not refreshed else None
    )

    async def refresh() -> None:
        await asyncio.sleep(0.3)
        refreshed.append(harness.loop.time())

    harness.transport.on_refresh = refresh
    result = await harness.start(options=ScanOptions(retry=RetryPolicy(max_attempts=1)))
    harness.check_snapshot()
    assert result.state is RunState.COMPLETE
    assert len(refreshed) == 1
    assert result.sent == result.minimum + result.retried
    assert 1 < result.retried < 20


async def test_credentials_that_cannot_be_refreshed_end_it(tmp_path: Path) -> None:
    """The sweep stops, resumable, and says that the credentials are the reason."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 60))
    harness.transport.intercept = lambda core, token: EXPIRED if len(harness.transport.requests) > 20 else None

    async def refresh() -> None:
        raise CredentialsError("log in again")

    harness.transport.on_refresh = refresh
    result = await harness.start()
    assert (result.state, result.is_auth_error, result.reason) == (RunState.ABORTED, True, "log in again")
    harness.transport.intercept = lambda core, token: None
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def test_an_endpoint_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """Nobody there: a few tries, then a reason."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: NoResponse("connect", "connection refused", sent=False)
    result = await harness.start()
    assert result.state is RunState.ABORTED
    assert "connection refused" in result.reason
    assert result.sent < 20


async def test_throttled_without_end_is_given_up(tmp_path: Path) -> None:
    """Nothing accepted for as long as the patience lasts: the sweep stops, resumable."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 10), fault=("429@*#2-99999",))
    result = await harness.start(adaptive=True, options=ScanOptions(stall_timeout=30.0))
    assert result.state is RunState.ABORTED
    assert "throttled" in result.reason
