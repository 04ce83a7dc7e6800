"""Rule: stopping, cancelling and going on with a sweep, and which files it refuses to go on with, are tested here."""

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
    """Do something when the service sees this request."""
    request_numbers = itertools.count(1)

    def intercept(core: str, token: str) -> None:
        if next(request_numbers) == number:
            action()

    harness.transport.intercept = intercept


def interrupt(harness: ScanHarness) -> None:
    """Stop the sweep as Ctrl-C does."""
    assert harness.scan is not None
    harness.scan.stop(StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C"))


async def test_a_stopped_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is under way ends and counts; both starts together ask for each page once."""
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


async def test_the_deadline_leaves_it_resumable(tmp_path: Path) -> None:
    """A sweep that takes longer than it may stops in time and is gone on with."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    started_at = harness.loop.time()
    result = await harness.start(options=ScanOptions(deadline=0.3))
    assert result.state is RunState.DEADLINE
    assert harness.loop.time() - started_at < 0.5
    assert (await harness.start()).sent == minimum_requests(SIZES)
    harness.check_snapshot()


@pytest.mark.parametrize("request_number", [1, 2, 3, 30, 71])
async def test_a_cancelled_sweep_goes_on_where_it_was(tmp_path: Path, request_number: int) -> None:
    """Cancelling leaves a file that can be gone on with at once; what was under way is asked for again."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    task = asyncio.ensure_future(harness.start())
    at_request(harness, request_number, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    harness.transport.intercept = lambda core, token: None
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def test_cores_that_came_meanwhile_may_be_missing_but_none_that_was_told(tmp_path: Path) -> None:
    """A fleet that changes between two starts: what the second one still has to list is listed as it is then."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes({"a": 150, "b": 150, "c": 150}))
    at_request(harness, 3, lambda: interrupt(harness))
    await harness.start(options=ScanOptions(concurrency=1))
    listed = {core for core, _ in harness.transport.requests if core}
    assert listed == {"a"}
    harness.service.fleet.disassociate("c", "c-0007")
    harness.transport.intercept = lambda core, token: None
    await harness.start()
    harness.check_snapshot()


async def test_a_listener_that_raises_ends_the_sweep(tmp_path: Path) -> None:
    """Its error reaches the caller, and the sweep is resumable."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1, 1]), fault=("500#2",))

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await scan_fleet(harness.path, await _lane(harness), harness.transport, listeners=[fail], threaded=False)
    assert (await harness.start()).state is RunState.COMPLETE


async def _lane(harness: ScanHarness) -> Any:
    from asyncgg.engine import Lane
    from asyncgg.ratelimit import FixedRate

    return Lane(harness.transport, FixedRate(100.0))


# --- which file ---


async def start_scan(path: Path, **options: Any) -> None:
    """An unfinished sweep at `path`."""
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
async def test_another_sweep_is_refused(tmp_path: Path, name: str) -> None:
    """An unfinished sweep of another account, Region, endpoint, filter or of other cores is not gone on with."""
    await start_scan(tmp_path / "fleet.db")
    other, message = INCOMPATIBLE_SCANS[name]
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    with pytest.raises(SnapshotError, match=f"unfinished scan of {re.escape(message)}"):
        await harness.start(**{"origin": EUROPE, **other})
    assert harness.transport.requests == []


async def test_an_account_nobody_knows_may_be_any(tmp_path: Path) -> None:
    """With a custom endpoint the account is not asked for; that is no reason to refuse, and the known one stays."""
    await start_scan(tmp_path / "fleet.db")
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    await harness.start(origin=Origin("", EUROPE.region, EUROPE.endpoint))
    with Snapshot(harness.path) as snapshot:
        assert snapshot.origin == EUROPE


async def test_an_old_one_is_refused(tmp_path: Path) -> None:
    """After a day it would be a snapshot of a fleet that never was; the limit can be told."""
    await start_scan(tmp_path / "fleet.db")
    with sqlite3.connect(tmp_path / "fleet.db") as connection:
        connection.execute("UPDATE meta SET value = value - 100000 WHERE key = 'started_at'")
    connection.close()
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    with pytest.raises(SnapshotError, match="started 28 hours ago"):
        await harness.start(origin=EUROPE)
    await harness.start(origin=EUROPE, options=ScanOptions(max_age=200_000.0))
    harness.check_snapshot()


async def test_a_finished_one_is_refused(tmp_path: Path) -> None:
    """What is there stays as it is."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    await harness.start()
    before = harness.path.read_bytes()
    with pytest.raises(SnapshotError, match="already contains a complete scan"):
        await harness.start()
    assert harness.path.read_bytes() == before


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second sweep into the same file is refused while the first one goes on."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    writer = SnapshotWriter(harness.path, threaded=False)
    with pytest.raises(SnapshotError, match="in use by another process"):
        await harness.start()
    writer.close()
    assert (await harness.start()).state is RunState.COMPLETE


async def test_one_that_had_nothing_yet_may_become_any(tmp_path: Path) -> None:
    """A start that got no page (a wrong endpoint, say) leaves nothing that would refuse the right one."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.transport.intercept = lambda core, token: NoResponse("connect", "nobody there", sent=False)
    assert (await harness.start(origin=EUROPE, cores=["core-000"])).state is RunState.ABORTED
    harness.transport.intercept = lambda core, token: None
    result = await harness.start()
    assert (result.state, result.sent) == (RunState.COMPLETE, 2)
    harness.check_snapshot()


async def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    """A crash right after the file was made leaves it empty: that is no reason to refuse it."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1]))
    harness.path.touch()
    assert (await harness.start()).state is RunState.COMPLETE


async def test_a_scope_must_be_sound() -> None:
    """Names that are none, and filters beside names, are refused before anything is made."""
    with pytest.raises(UsageError, match=r"invalid core name 'x/y': has characters outside"):
        ScanScope.of(EUROPE, None, ["x/y"])
    with pytest.raises(UsageError, match="give either filters or core names"):
        ScanScope.of(EUROPE, CoreFilter(status="HEALTHY"), ["core"])


# --- the disk ---


async def test_a_full_disk_stops_the_asking(tmp_path: Path) -> None:
    """When a page cannot be written nothing further is asked for; with room again the sweep goes on."""
    harness = ScanHarness(
        tmp_path / "fleet.db", FleetSpec.from_things({f"c{n}": [f"{n}-{t}" for t in range(99)] for n in range(99)})
    )
    with pytest.raises(SnapshotWriteError, match="no space left on the disk"):
        await _scan_with_page_limit(harness, pages=20)
    request_total = len(harness.transport.requests)
    assert request_total < 90
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def _scan_with_page_limit(harness: ScanHarness, pages: int) -> None:
    """Sweep into a file that may grow to so many pages only."""
    before = ScanState.restore_queue

    def restore_with_page_limit(self: ScanState, *arguments: Any) -> None:
        self._writer._connection.execute(f"PRAGMA max_page_count = {pages}")
        before(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScanState, "restore_queue", restore_with_page_limit)
        await harness.start()
