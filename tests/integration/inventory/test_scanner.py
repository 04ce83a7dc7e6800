"""Scans of a service without faults, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.inventory import CoreState, Snapshot, minimum_requests
from asyncgg.models import RunState
from asyncgg.transport.base import CoreFilter
from tests.support.scan import ScanHarness, fleet_of_sizes

pytestmark = pytest.mark.virtual

SIZES = [0, 1, 99, 100, 101, 200, 201, 350] * 13


async def test_scan_snapshot_equals_fleet(tmp_path: Path) -> None:
    """Every core and association is recorded once, with the minimum of requests."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    result = await harness.start()
    harness.check_snapshot()
    assert result.state is RunState.COMPLETE
    assert result.sent == result.minimum == minimum_requests(SIZES) == len(harness.transport.requests)
    assert result.counts.cores == result.counts.listed == len(SIZES)
    assert result.failed_share == 0
    with Snapshot(harness.path) as snapshot:
        assert snapshot.finished
        assert [core.things for core in snapshot.cores()] == SIZES


async def test_scan_empty_fleet_needs_one_request(tmp_path: Path) -> None:
    """The snapshot is complete and empty."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([]))
    result = await harness.start()
    assert (result.state, result.sent, result.counts.cores) == (RunState.COMPLETE, 1, 0)


async def test_scan_named_cores_does_not_list_cores(tmp_path: Path) -> None:
    """Only the named cores are listed; an unknown name has vanished."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    result = await harness.start(cores=["core-007", "unknown", "core-001", "core-007"])
    assert {core for core, _ in harness.transport.requests} == {"core-007", "core-001", "unknown"}
    assert result.state is RunState.COMPLETE
    assert (result.counts.listed, result.counts.vanished, result.counts.associations) == (2, 1, 351)
    with Snapshot(harness.path) as snapshot:
        assert [core.state for core in snapshot.cores()] == [CoreState.DONE, CoreState.VANISHED, CoreState.DONE]


async def test_scan_filters_are_sent_and_recorded(tmp_path: Path) -> None:
    """The service gets the filters, and the snapshot records them."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    result = await harness.start(filters=CoreFilter(status="UNHEALTHY"))
    assert result.counts.cores == 0
    with Snapshot(harness.path) as snapshot:
        assert snapshot.filters == CoreFilter(status="UNHEALTHY")


async def test_scan_time_is_that_of_the_rate(tmp_path: Path) -> None:
    """Requests are sent at the rate of the lane from the first to the last."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    started_at = harness.loop.time()
    result = await harness.start(rate=50.0, burst=2.0)
    assert harness.loop.time() - started_at <= 1.02 * result.sent / 50.0 + 0.1


async def test_scan_first_request_is_sent_without_others(tmp_path: Path) -> None:
    """One request checks the credentials before others are sent."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 20), latency_ms=400.0)
    request_times: list[float] = []
    harness.transport.intercept = lambda core, token: request_times.append(harness.loop.time())
    await harness.start(rate=1000.0, burst=50.0, cores=[f"core-{number:03}" for number in range(20)])
    assert request_times[1] - request_times[0] >= 0.4


async def test_scan_every_request_takes_a_token(tmp_path: Path) -> None:
    """Every request takes a token of the lane, also after failures."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES), fault=("500=10%",))
    result = await harness.start()
    assert harness.lane is not None
    assert harness.lane.bucket.statistics().granted == result.sent == len(harness.transport.requests)


async def test_progress_estimates_requests_left(tmp_path: Path) -> None:
    """The estimate is within a quarter of the truth once all cores are known, and 0 at the end."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([50, 150, 250] * 40))
    observed: list[tuple[int, int, bool]] = []

    def observe(core: str, token: str) -> None:
        assert harness.scan is not None
        progress = harness.scan.progress()
        observed.append((progress.sent, progress.requests_left, progress.open_ended))
        assert progress.seconds_left == progress.requests_left / progress.rate

    harness.transport.intercept = observe
    result = await harness.start()
    assert harness.scan is not None
    end = harness.scan.progress()
    assert (end.requests_left, end.open_ended, end.cores, end.finished) == (0, False, 120, 120)
    assert end.associations == result.counts.associations
    assert observed[0][2]
    later_estimates = [
        (sent, remaining) for sent, remaining, open_ended in observed if not open_ended and sent > result.sent / 4
    ]
    assert later_estimates
    for sent, remaining in later_estimates:
        assert abs(remaining - (result.sent - sent)) <= max(64, (result.sent - sent) / 4)
