"""Interrupted and resumed scans, and the files that a scan refuses."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from asyncgg.engine import StopReason
from asyncgg.errors import SnapshotError, SnapshotWriteError, UsageError
from asyncgg.events import Event, Stopping
from asyncgg.inventory import Origin, ScanOptions, Snapshot, minimum_requests, scan_fleet
from asyncgg.inventory.scan_state import ScanState
from asyncgg.inventory.scope import ScanScope
from asyncgg.inventory.writer import SnapshotWriter
from asyncgg.models import NoResponse, RunState
from asyncgg.simulator import FleetSpec
from asyncgg.transport.base import CoreFilter
from tests.support.scan import ScanHarness, fleet_of_sizes

pytestmark = pytest.mark.virtual

SIZES = [250, 0, 120, 1] * 10
EUROPE = Origin("123456789012", "eu-west-1", "https://greengrass.eu-west-1.amazonaws.com")


def at_request(harness: ScanHarness, number: int, action: Any) -> None:
    """Call `action` when the service receives the request of this number."""
    request_numbers = itertools.count(1)

    def intercept(core: str, token: str) -> None:
        if next(request_numbers) == number:
            action()

    harness.transport.intercept = intercept


def interrupt(harness: ScanHarness) -> None:
    """Stop the scan as Ctrl-C does."""
    assert harness.scan is not None
    harness.scan.stop(StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C"))


async def test_scan_stopped_is_resumed(tmp_path: Path) -> None:
    """Requests in flight finish and count; both starts request each page once."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    at_request(harness, 30, lambda: interrupt(harness))
    result = await harness.start()
    assert (result.state, result.reason, result.finished) == (RunState.INTERRUPTED, "stopped by Ctrl-C", False)
    assert harness.events_of(Stopping) == [Stopping("stopped by Ctrl-C")]
    with Snapshot(harness.path) as snapshot:
        assert not snapshot.finished
        with pytest.raises(SnapshotError, match="unfinished scan; complete it with"):
            snapshot.require_finished()
    harness.transport.intercept = lambda core, token: None
    second = await harness.start()
    assert second.state is RunState.COMPLETE
    assert (
        second.sent
        == minimum_requests(SIZES)
        == len(harness.transport.requests)
        == len(set(harness.transport.requests))
    )
    harness.check_snapshot()


async def test_scan_deadline_is_resumable(tmp_path: Path) -> None:
    """A scan stops at its deadline and can be resumed."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    started_at = harness.loop.time()
    result = await harness.start(options=ScanOptions(deadline=0.3))
    assert result.state is RunState.DEADLINE
    assert harness.loop.time() - started_at < 0.5
    assert (await harness.start()).sent == minimum_requests(SIZES)
    harness.check_snapshot()


@pytest.mark.parametrize("request_number", [1, 2, 3, 30, 71])
async def test_scan_cancelled_is_resumed(tmp_path: Path, request_number: int) -> None:
    """A cancelled scan can be resumed at once."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    task = asyncio.ensure_future(harness.start())
    at_request(harness, request_number, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    harness.transport.intercept = lambda core, token: None
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def test_scan_resumed_lists_remaining_cores_as_they_are(tmp_path: Path) -> None:
    """The second start lists the remaining cores in their current state."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes({"a": 150, "b": 150, "c": 150}))
    at_request(harness, 3, lambda: interrupt(harness))
    await harness.start(options=ScanOptions(concurrency=1))
    listed = {core for core, _ in harness.transport.requests if core}
    assert listed == {"a"}
    harness.service.fleet.disassociate("c", "c-0007")
    harness.transport.intercept = lambda core, token: None
    await harness.start()
    harness.check_snapshot()


async def test_scan_listener_error_is_raised(tmp_path: Path) -> None:
    """The error of a listener reaches the caller, and the scan can be resumed."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1, 1]), fault=("500#2",))

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await scan_fleet(harness.path, await _lane(harness), harness.transport, listeners=[fail], threaded=False)
    assert (await harness.start()).state is RunState.COMPLETE


async def _lane(harness: ScanHarness) -> Any:
    from asyncgg.engine import Lane
    from asyncgg.testing import FixedRate

    return Lane(harness.transport, FixedRate(100.0))


# --- existing files ---


async def start_scan(path: Path, **options: Any) -> None:
    """Create an unfinished snapshot at `path`."""
    harness = ScanHarness(path, fleet_of_sizes(SIZES))
    at_request(harness, 20, lambda: interrupt(harness))
    await harness.start(**{"origin": EUROPE, **options})


INCOMPATIBLE_SCANS: dict[str, tuple[dict[str, Any], str]] = {
    "account": ({"origin": Origin("999999999999", EUROPE.region, EUROPE.endpoint)}, "account 123456789012, this scan"),
    "region": ({"origin": Origin("123456789012", "us-east-1", EUROPE.endpoint)}, "region eu-west-1, this scan"),
    "endpoint": ({"origin": Origin("123456789012", "eu-west-1", "http://x")}, "endpoint https://greengrass"),
    "filters": ({"filters": CoreFilter(status="HEALTHY")}, "no filters, this scan is of status HEALTHY"),
    "cores": ({"cores": ["core-001"]}, "all cores, this scan is of these named cores"),
}


@pytest.mark.parametrize("name", INCOMPATIBLE_SCANS)
async def test_scan_file_of_other_scan_fails(tmp_path: Path, name: str) -> None:
    """An unfinished scan of another account, Region, endpoint, filter or cores is not resumed."""
    await start_scan(tmp_path / "fleet.db")
    other, message = INCOMPATIBLE_SCANS[name]
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    with pytest.raises(SnapshotError, match=f"unfinished scan of {re.escape(message)}"):
        await harness.start(**{"origin": EUROPE, **other})
    assert harness.transport.requests == []


async def test_scan_unknown_account_matches_any(tmp_path: Path) -> None:
    """Without a known account (custom endpoint) the recorded one stays."""
    await start_scan(tmp_path / "fleet.db")
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    await harness.start(origin=Origin("", EUROPE.region, EUROPE.endpoint))
    with Snapshot(harness.path) as snapshot:
        assert snapshot.origin == EUROPE


async def test_scan_file_older_than_max_age_fails(tmp_path: Path) -> None:
    """An unfinished scan is refused after a day; `max_age` changes that."""
    await start_scan(tmp_path / "fleet.db")
    with sqlite3.connect(tmp_path / "fleet.db") as connection:
        connection.execute("UPDATE meta SET value = value - 100000 WHERE key = 'started_at'")
    connection.close()
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    with pytest.raises(SnapshotError, match="started 28 hours ago"):
        await harness.start(origin=EUROPE)
    await harness.start(origin=EUROPE, options=ScanOptions(max_age=200_000.0))
    harness.check_snapshot()


async def test_scan_file_of_complete_scan_fails(tmp_path: Path) -> None:
    """A complete snapshot is not changed."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    await harness.start()
    before = harness.path.read_bytes()
    with pytest.raises(SnapshotError, match="already contains a complete scan"):
        await harness.start()
    assert harness.path.read_bytes() == before


async def test_scan_locked_file_fails(tmp_path: Path) -> None:
    """A second scan into the same file fails while the first one runs."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    writer = SnapshotWriter(harness.path, threaded=False)
    with pytest.raises(SnapshotError, match="in use by another process"):
        await harness.start()
    writer.close()
    assert (await harness.start()).state is RunState.COMPLETE


async def test_scan_file_without_pages_is_reused(tmp_path: Path) -> None:
    """A start without any page (wrong endpoint) does not prevent another scan."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: NoResponse("connect", "connection refused", sent=False)
    assert (await harness.start(origin=EUROPE, cores=["core-000"])).state is RunState.ABORTED
    harness.transport.intercept = lambda core, token: None
    result = await harness.start()
    assert (result.state, result.sent) == (RunState.COMPLETE, 2)
    harness.check_snapshot()


async def test_scan_empty_file_is_used(tmp_path: Path) -> None:
    """An empty file, left by a crash, is used."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.path.touch()
    assert (await harness.start()).state is RunState.COMPLETE


async def test_scope_invalid_fails() -> None:
    """Invalid names, and filters together with names, are rejected."""
    with pytest.raises(UsageError, match=r"invalid core name 'x/y': contains characters outside"):
        ScanScope.of(EUROPE, None, ["x/y"])
    with pytest.raises(UsageError, match="give either filters or core names"):
        ScanScope.of(EUROPE, CoreFilter(status="HEALTHY"), ["core"])


# --- the disk ---


async def test_scan_disk_full_stops_requests(tmp_path: Path) -> None:
    """No page is requested after a failed write; with free space the scan is resumed."""
    harness = ScanHarness(
        tmp_path / "fleet.db", FleetSpec.from_things({f"c{n}": [f"{n}-{t}" for t in range(99)] for n in range(99)})
    )
    with pytest.raises(SnapshotWriteError, match="the disk is full"):
        await _scan_with_page_limit(harness, pages=20)
    request_total = len(harness.transport.requests)
    assert request_total < 90
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def _scan_with_page_limit(harness: ScanHarness, pages: int) -> None:
    """Scan into a file that is limited to `pages` pages of SQLite."""
    original = ScanState.restore_queue

    def restore_with_page_limit(self: ScanState, *arguments: Any) -> None:
        self._writer._connection.execute(f"PRAGMA max_page_count = {pages}")
        original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScanState, "restore_queue", restore_with_page_limit)
        await harness.start()
