"""Scans of a service and a network with faults, in virtual time."""

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
    """Reply to every request for this core with `result`."""
    return lambda requested, token: result if requested == core else None


# --- any fleet with any faults ---

FAULTS = ("500=10%", "reset-after=10%", "reset-before=5%", "garbage=10%", "half=5%", "hang=3%", "429=5%", "503=5%")


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.one_of(st.integers(0, 3), st.integers(98, 102), st.integers(195, 305)), max_size=25),
    faults=st.sets(st.sampled_from(FAULTS), max_size=4),
    seed=st.integers(0, 1000),
    quota=st.sampled_from([20.0, float("inf")]),
    adaptive=st.booleans(),
    interrupted_at=st.one_of(st.none(), st.integers(1, 40)),
)
def test_scan_any_faults_and_interruption_snapshot_equals_fleet(
    sizes: list[int], faults: set[str], seed: int, quota: float, adaptive: bool, interrupted_at: int | None
) -> None:
    """With any transient faults, throttles and an interruption, the snapshot equals the fleet."""

    async def run_scan(path: Path) -> tuple[ScanResult, ScanHarness]:
        harness = ScanHarness(
            path, fleet_of_sizes(sizes), fault=tuple(sorted(faults)), seed=seed, rate=quota, burst=3.0
        )
        if interrupted_at is not None and (
            early := await _start_and_interrupt(harness, interrupted_at, rate=40.0, adaptive=adaptive)
        ):
            return early, harness
        return await harness.start(rate=40.0, adaptive=adaptive), harness

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        result, harness = run_virtual(run_scan(path))
        assert result.state is RunState.COMPLETE
        harness.check_snapshot()
        assert result.minimum == minimum_requests(sizes)
        if not faults and quota == float("inf") and interrupted_at is None:
            assert result.sent == minimum_requests(sizes)


class _InterruptError(Exception):
    """Ends a start at a given request without an orderly stop, as a crash does."""


async def _start_and_interrupt(harness: ScanHarness, requests: int, **options: Any) -> ScanResult | None:
    """Interrupt a start at a request; its result when it ended before."""

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


# --- single faults ---

pytestmark = pytest.mark.virtual


async def test_scan_throttles_count_no_attempt(tmp_path: Path) -> None:
    """With one attempt per list all cores are listed at a quota of a third of the rate."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([120] * 40), rate=30.0, burst=2.0, retry_after="auto")
    result = await harness.start(rate=90.0, adaptive=True, options=ScanOptions(retry=RetryPolicy(max_attempts=1)))
    harness.check_snapshot()
    assert result.state is RunState.COMPLETE
    assert result.throttled == len(harness.events_of(Throttled)) > 0
    assert result.sent == result.minimum + result.throttled


async def test_scan_core_not_found_has_vanished(tmp_path: Path) -> None:
    """After a 404 the core has no client devices, not even those of its first page."""
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


async def test_scan_denied_core_is_counted(tmp_path: Path) -> None:
    """A denied core costs one request and counts in `failed_share`."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([3, 3, 3, 3]))
    harness.transport.intercept = fail_core("core-001", DENIED)
    result = await harness.start()
    assert (result.state, result.counts.denied, result.failed_share) == (RunState.PARTIAL, 1, 0.25)
    with Snapshot(harness.path) as snapshot:
        assert snapshot.failed_share == 0.25
        (core,) = (core for core in snapshot.cores() if core.state is CoreState.DENIED)
        assert (core.device.name, core.code, core.message) == ("core-001", "AccessDeniedException", "not yours")
    assert [core for core, _ in harness.transport.requests].count("core-001") == 1


async def test_scan_failing_core_is_abandoned_after_attempts(tmp_path: Path) -> None:
    """A core fails after its attempts; its recorded pages stay."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([250, *[1] * 9]))
    harness.transport.intercept = lambda core, token: BROKEN if core == "core-000" and token else None
    result = await harness.start(options=ScanOptions(retry=RetryPolicy(max_attempts=4)))
    assert (result.state, result.counts.failed, result.counts.associations) == (RunState.PARTIAL, 1, 109)
    assert len(harness.events_of(PageFailed)) == 5  # the first one came before the answers to the other lists
    assert result.retried == 4


async def test_scan_all_cores_denied_aborts(tmp_path: Path) -> None:
    """Three denied cores and no accepted one end the scan, which names the permission."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 50))
    harness.transport.intercept = lambda core, token: DENIED if core else None
    result = await harness.start(rate=10.0)
    assert (result.state, result.is_auth_error, result.failed_share) == (RunState.ABORTED, True, 1.0)
    assert "greengrass:ListClientDevicesAssociatedWithCoreDevice" in result.reason
    assert result.sent < 20
    harness.transport.intercept = lambda core, token: None
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def test_scan_denied_core_list_aborts(tmp_path: Path) -> None:
    """The reason names the permission to grant."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = fail_core("", DENIED)
    result = await harness.start()
    assert (result.state, result.is_auth_error, result.sent) == (RunState.ABORTED, True, 1)
    assert "greengrass:ListCoreDevices" in result.reason


async def test_scan_expired_token_restarts_list(tmp_path: Path) -> None:
    """A list restarts once, without duplicates."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([250] + [1] * 150))
    rejected: set[str] = set()

    def expire(core: str, token: str) -> Any:
        if not token or core in rejected:
            return None
        rejected.add(core)
        return INVALID

    harness.transport.intercept = expire
    result = await harness.start()
    assert rejected == {"", "core-000"}
    assert result.state is RunState.COMPLETE
    harness.check_snapshot()


async def test_scan_token_rejected_twice_fails_core(tmp_path: Path) -> None:
    """A list is not restarted a second time."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([250, 1]))
    harness.transport.intercept = lambda core, token: INVALID if core and token else None
    result = await harness.start()
    assert (result.state, result.counts.failed) == (RunState.PARTIAL, 1)
    assert result.sent == 1 + 1 + 4


THINGS = tuple(ClientDevice(f"thing-{number}", 1.0) for number in range(3))
PAGE_LOOPS: dict[str, Callable[[str], Page[ClientDevice]]] = {
    "the same token": lambda token: Page(THINGS, "again"),
    "an earlier token": lambda token: Page((ClientDevice(f"t-{token}", 1.0),), {"": "a", "a": "b"}.get(token, "a")),
    "the same page": lambda token: Page(THINGS, token + "x"),
    "empty pages": lambda token: Page((), token + "x"),
}


@pytest.mark.parametrize("name", PAGE_LOOPS)
async def test_scan_repeated_pages_fail_core(tmp_path: Path, name: str) -> None:
    """The list is restarted once, then its core fails."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1, 1]))
    harness.transport.intercept = lambda core, token: PAGE_LOOPS[name](token) if core == "core-000" else None
    result = await harness.start()
    assert (result.state, result.counts.failed, result.counts.listed) == (RunState.PARTIAL, 1, 1)
    assert result.sent < 60
    assert [event.code for event in harness.events_of(CoreScanFailed)] == ["RepeatedPages"]
    snapshot_associations(harness.path)


async def test_scan_repeated_core_pages_abort(tmp_path: Path) -> None:
    """Without the list of cores the scan ends unfinished."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: Page((CoreDevice("core-000"),), "again") if not core else None
    result = await harness.start()
    assert (result.state, result.failed_share) == (RunState.ABORTED, 1.0)
    assert "RepeatedPages" in result.reason


async def test_scan_duplicates_are_stored_once(tmp_path: Path) -> None:
    """Repeated things and cores are stored once; repeated things are counted."""
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


async def test_scan_empty_last_page_ends_list(tmp_path: Path) -> None:
    """A token after a full last page costs one request."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([100]))
    full = Page(tuple(ClientDevice(f"core-000-{number:04}", 7.0) for number in range(100)), "more")
    harness.transport.intercept = lambda core, token: (Page(()) if token else full) if core else None
    result = await harness.start()
    harness.check_snapshot()
    assert (result.state, result.sent, result.minimum) == (RunState.COMPLETE, 3, 3)


async def test_scan_invalid_names_are_reported(tmp_path: Path) -> None:
    """Invalid names are counted, reported and not stored."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: Page(THINGS, invalid_names=("'x/y'", "None")) if core else None
    result = await harness.start()
    assert (result.counts.associations, result.counts.invalid_names) == (3, 2)
    assert harness.events_of(InvalidNames) == [InvalidNames("core-000", ("'x/y'", "None"))]


async def test_scan_expired_credentials_are_refreshed_once(tmp_path: Path) -> None:
    """Requests in flight are repeated; no list loses an attempt."""
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


async def test_scan_failed_refresh_aborts(tmp_path: Path) -> None:
    """The scan ends, can be resumed, and reports the credentials as the reason."""
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


async def test_scan_unreachable_endpoint_aborts(tmp_path: Path) -> None:
    """The scan ends after a few attempts, with the reason."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: NoResponse("connect", "connection refused", sent=False)
    result = await harness.start()
    assert result.state is RunState.ABORTED
    assert "connection refused" in result.reason
    assert result.sent < 20


async def test_scan_throttled_beyond_stall_timeout_aborts(tmp_path: Path) -> None:
    """Without an accepted request for `stall_timeout` the scan ends."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 10), fault=("429@*#2-99999",))
    result = await harness.start(adaptive=True, options=ScanOptions(stall_timeout=30.0))
    assert result.state is RunState.ABORTED
    assert "throttled" in result.reason
