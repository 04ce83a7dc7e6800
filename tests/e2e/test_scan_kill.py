"""Tests of kill -9 during a scan with a writer thread, and of the scan that continues it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import traceback
from pathlib import Path
from typing import NoReturn

import pytest

from asyncgg.engine import Lane
from asyncgg.inventory import Snapshot, minimum_requests, scan_fleet
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.service import Service
from asyncgg.testing import FixedRate
from tests.support.scan import InProcessListing, fleet_of_sizes, snapshot_associations

SIZES = [0, 1, 120, 250, 99] * 30
PLAN = fleet_of_sizes(SIZES)
KILLS = 12


def run_scan_process(path: Path, progress_fd: int) -> NoReturn:
    """Scan the fleet in a forked process, and write one byte to `progress_fd` for each page; exit code 0 at the end."""
    # The service is in the same process, without sockets, so that many kills take little time. Only the files survive.

    async def run() -> None:
        service = Service(SimulatorConfig(rate=float("inf"), latency_ms=1.0), fleet_spec=PLAN, now=time.time())
        transport = InProcessListing(service, intercept=lambda core, token: os.write(progress_fd, b".") and None)
        lane = Lane(transport, FixedRate(1500.0, burst=10.0))
        assert (await scan_fleet(path, lane, transport)).finished

    try:
        asyncio.run(run())
    except BaseException:  # noqa: BLE001 - a forked child must never return into the test
        path.with_suffix(".traceback").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_scan_killed_repeatedly_continues(tmp_path: Path) -> None:
    """Each of twelve kills leaves a valid file, and at the end the snapshot has the fleet, each page read once."""
    path, rng = tmp_path / "fleet.db", random.Random(1)
    kills, partial_kills, code = 0, 0, -1
    while code != 0:
        read_fd, write_fd = os.pipe()
        child = os.fork()
        if not child:
            run_scan_process(path, write_fd)
        os.close(write_fd)
        if kills < KILLS:
            pages = rng.randint(1, 40)  # counted in pages, so that a kill hits the scan on any machine
            while pages > 0 and (read := os.read(read_fd, pages)):  # empty when the scan has ended
                pages -= len(read)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(read_fd)
        traceback_file = path.with_suffix(".traceback")
        assert code in {0, -signal.SIGKILL}, f"after {kills} kills: {traceback_file.read_text()}"
        if code and path.exists() and path.stat().st_size:
            kills += 1
            with Snapshot(path) as snapshot:
                counts = snapshot.counts()
                partial_kills += 0 < counts.listed < len(SIZES)
                assert counts.associations == sum(1 for _ in snapshot.associations())
    assert partial_kills >= 3
    assert snapshot_associations(path) == {
        (core, thing): 7.0 for core, things in PLAN.things.items() for thing in things
    }
    with Snapshot(path) as snapshot:
        assert sum(core.pages for core in snapshot.cores()) + 2 == minimum_requests(SIZES)
    assert {file.name for file in tmp_path.iterdir()} == {"fleet.db"}
