"""Rule: what a sweep asks for and makes of the answers is tested here, on virtual time with in-process reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.inventory import CoreState, Snapshot, minimum_requests
from asyncgg.models import RunState
from asyncgg.transport.base import CoreFilter
from tests.support.scan import ScanHarness, fleet_of_sizes

pytestmark = pytest.mark.virtual

SIZES = [0, 1, 99, 100, 101, 200, 201, 350] * 13


async def test_the_snapshot_is_the_fleet(tmp_path: Path) -> None:
    """Every core and every association is there once, with its time, for as many requests as the formula says."""
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


async def test_an_empty_fleet_takes_one_request(tmp_path: Path) -> None:
    """One page says that there are no cores; the snapshot is finished and holds nothing."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([]))
    result = await harness.start()
    assert (result.state, result.sent, result.counts.cores) == (RunState.COMPLETE, 1, 0)


async def test_named_cores_are_listed_without_asking_for_all(tmp_path: Path) -> None:
    """With names given nobody asks for the list of cores; a name the service does not know has vanished."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    result = await harness.start(cores=["core-007", "nobody", "core-001", "core-007"])
    assert {core for core, _ in harness.transport.requests} == {"core-007", "core-001", "nobody"}
    assert result.state is RunState.COMPLETE
    assert (result.counts.listed, result.counts.vanished, result.counts.associations) == (2, 1, 351)
    with Snapshot(harness.path) as snapshot:
        assert [core.state for core in snapshot.cores()] == [CoreState.DONE, CoreState.VANISHED, CoreState.DONE]


async def test_filters_reach_the_service(tmp_path: Path) -> None:
    """Only the cores that the filters leave are listed, and the snapshot says which filters these were."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    result = await harness.start(filters=CoreFilter(status="UNHEALTHY"))
    assert result.counts.cores == 0
    with Snapshot(harness.path) as snapshot:
        assert snapshot.filters == CoreFilter(status="UNHEALTHY")


async def test_the_quota_decides_how_long_it_takes(tmp_path: Path) -> None:
    """Requests leave at the lane's rate from the first page of cores to the last core."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES))
    started_at = harness.loop.time()
    result = await harness.start(rate=50.0, burst=2.0)
    assert harness.loop.time() - started_at <= 1.02 * result.sent / 50.0 + 0.1


async def test_the_first_request_goes_alone(tmp_path: Path) -> None:
    """Named cores are not all asked for at once: one request finds out first whether the credentials are good."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 20), latency_ms=400.0)
    request_times: list[float] = []
    harness.transport.intercept = lambda core, token: request_times.append(harness.loop.time())
    await harness.start(rate=1000.0, burst=50.0, cores=[f"core-{number:03}" for number in range(20)])
    assert request_times[1] - request_times[0] >= 0.4


async def test_one_lane_for_everything(tmp_path: Path) -> None:
    """Every request of a sweep takes a token of the lane it was given, however many starts it needs."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes(SIZES), fault=("500=10%",))
    result = await harness.start()
    assert harness.lane is not None
    assert harness.lane.bucket.statistics().granted == result.sent == len(harness.transport.requests)


async def test_progress_is_honest(tmp_path: Path) -> None:
    """While it goes on, the estimate of what is left is open-ended until all cores are known, then it is within a
    quarter of the truth; at the end nothing is left."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([50, 150, 250] * 40))
    observed: list[tuple[int, int, bool]] = []

    def look(core: str, token: str) -> None:
        assert harness.scan is not None
        progress = harness.scan.progress()
        observed.append((progress.sent, progress.requests_left, progress.open_ended))
        assert progress.seconds_left == progress.requests_left / progress.rate

    harness.transport.intercept = look
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
