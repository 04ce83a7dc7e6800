"""Rule: what a sweep asks for and makes of the answers is tested here, on virtual time with in-process reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.inventory import CoreState, Snapshot, minimum
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
    assert swept.sent == swept.minimum == minimum(SIZES) == len(bench.reads.asked)
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
