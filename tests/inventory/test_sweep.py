"""Rule: what a sweep asks for and makes of the answers is tested here, on virtual time with in-process reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.inventory import CoreState, Snapshot, minimum_requests
from asyncgg.model import RunState
from asyncgg.transport.reads import CoreFilter

from .support import Bench, fleet

pytestmark = pytest.mark.virtual

SIZES = [0, 1, 99, 100, 101, 200, 201, 350] * 13


async def test_the_snapshot_is_the_fleet(tmp_path: Path) -> None:
    """Every core and every association is there once, with its time, for as many requests as the formula says."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    swept = await bench.start()
    bench.check()
    assert swept.state is RunState.COMPLETE
    assert swept.sent == swept.minimum == minimum_requests(SIZES) == len(bench.reads.asked)
    assert swept.counts.cores == swept.counts.listed == len(SIZES)
    assert swept.failed_share == 0
    with Snapshot(bench.path) as snapshot:
        assert snapshot.finished
        assert [core.things for core in snapshot.cores()] == SIZES


async def test_an_empty_fleet_takes_one_request(tmp_path: Path) -> None:
    """One page says that there are no cores; the snapshot is finished and holds nothing."""
    bench = Bench(tmp_path / "fleet.db", fleet([]))
    swept = await bench.start()
    assert (swept.state, swept.sent, swept.counts.cores) == (RunState.COMPLETE, 1, 0)


async def test_named_cores_are_listed_without_asking_for_all(tmp_path: Path) -> None:
    """With names given nobody asks for the list of cores; a name the service does not know has vanished."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    swept = await bench.start(cores=["core-007", "nobody", "core-001", "core-007"])
    assert {core for core, _ in bench.reads.asked} == {"core-007", "core-001", "nobody"}
    assert swept.state is RunState.COMPLETE
    assert (swept.counts.listed, swept.counts.vanished, swept.counts.associations) == (2, 1, 351)
    with Snapshot(bench.path) as snapshot:
        assert [core.state for core in snapshot.cores()] == [CoreState.DONE, CoreState.VANISHED, CoreState.DONE]


async def test_filters_reach_the_service(tmp_path: Path) -> None:
    """Only the cores that the filters leave are listed, and the snapshot says which filters these were."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    swept = await bench.start(filters=CoreFilter(status="UNHEALTHY"))
    assert swept.counts.cores == 0
    with Snapshot(bench.path) as snapshot:
        assert snapshot.filters == CoreFilter(status="UNHEALTHY")


async def test_the_quota_decides_how_long_it_takes(tmp_path: Path) -> None:
    """Requests leave at the lane's rate from the first page of cores to the last core."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    began = bench.loop.time()
    swept = await bench.start(rate=50.0, burst=2.0)
    assert bench.loop.time() - began <= 1.02 * swept.sent / 50.0 + 0.1


async def test_the_first_request_goes_alone(tmp_path: Path) -> None:
    """Named cores are not all asked for at once: one request finds out first whether the credentials are good."""
    bench = Bench(tmp_path / "fleet.db", fleet([1] * 20), latency_ms=400.0)
    begun: list[float] = []
    bench.reads.before = lambda core, token: begun.append(bench.loop.time())
    await bench.start(rate=1000.0, burst=50.0, cores=[f"core-{number:03}" for number in range(20)])
    assert begun[1] - begun[0] >= 0.4


async def test_one_lane_for_everything(tmp_path: Path) -> None:
    """Every request of a sweep takes a token of the lane it was given, however many starts it needs."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES), fault=("500=10%",))
    swept = await bench.start()
    assert bench.lane is not None
    assert bench.lane.bucket.statistics().granted == swept.sent == len(bench.reads.asked)


async def test_progress_is_honest(tmp_path: Path) -> None:
    """While it goes on, the estimate of what is left is open-ended until all cores are known, then it is within a
    quarter of the truth; at the end nothing is left."""
    bench = Bench(tmp_path / "fleet.db", fleet([50, 150, 250] * 40))
    seen: list[tuple[int, int, bool]] = []

    def look(core: str, token: str) -> None:
        assert bench.sweep is not None
        progress = bench.sweep.progress()
        seen.append((progress.sent, progress.requests_left, progress.open_ended))
        assert progress.seconds_left == progress.requests_left / progress.rate

    bench.reads.before = look
    swept = await bench.start()
    assert bench.sweep is not None
    end = bench.sweep.progress()
    assert (end.requests_left, end.open_ended, end.cores, end.finished) == (0, False, 120, 120)
    assert end.associations == swept.counts.associations
    assert seen[0][2]
    late = [(sent, left) for sent, left, open_ended in seen if not open_ended and sent > swept.sent / 4]
    assert late
    for sent, left in late:
        assert abs(left - (swept.sent - sent)) <= max(64, (swept.sent - sent) / 4)
