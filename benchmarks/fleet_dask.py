"""Measure the CPU time of driver, scheduler and workers of a campaign of 400 lanes on 1, 2 and 4 Dask workers.

`python -m benchmarks.fleet_dask [LANES]` (6 minutes). All processes run on this machine. The lanes are slow, so
that one core is enough for the simulators, whose CPU time is not counted. The state is a folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.fleet_cluster import dask_cluster, fleet_scenario
from benchmarks.tables import Column, Table

RATE: Final = 0.5
"""Requests per second of each lane."""
REQUESTS: Final = 25
_TICKS: Final = os.sysconf("SC_CLK_TCK")

_TABLE: Final = Table(
    "fleet_dask",
    "A campaign on Dask",
    f"{RATE:g} requests/s for each lane, {REQUESTS} requests each, journals saved in a folder every 30 s",
    (
        Column("seconds", "seconds", "{:.0f}"),
        Column("driver", "driver CPU ms/request", "{:.2f}", plotted=True),
        Column("scheduler", "scheduler CPU ms/request", "{:.3f}"),
        Column("workers", "workers CPU ms/request", "{:.2f}", plotted=True),
        Column("start", "start: all CPU ms/lane", "{:.0f}"),
        Column("memory", "MB per worker"),
    ),
)


def cpu_of(pid: int) -> float:
    """The CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int) -> float:
    """The peak of the resident memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def measure(home: Path, lanes: int, workers: int) -> dict[str, Any]:
    """Run the campaign; CPU time counts from the first request of the last lane on, that before is the start."""
    with (
        fleet_scenario(home, lanes, REQUESTS, RATE, name=f"dask-{workers}", request_timeout=60.0) as scenario,
        dask_cluster(scenario, workers) as cluster,
    ):
        scenario.location = str(home / "share")  # moto would need more than a core for so many lanes
        time.sleep(5.0)  # the workers connect
        pids = [cluster.scheduler.pid, *(worker.pid for worker in cluster.workers)]
        before = [cpu_of(pid) for pid in pids]
        driver = scenario.disassociate("--dask", cluster.address)
        pids = [driver.process.pid, *pids]
        scenario.wait_for(lanes, driver)
        sent, started = scenario.sent(), time.time()
        started_cpu = [cpu_of(pid) for pid in pids]
        end_cpu = started_cpu
        while driver.process.poll() is None:
            if scenario.sent() < lanes * REQUESTS:
                end_cpu = [cpu_of(pid) for pid in pids]
            time.sleep(1.0)
        requests, seconds = scenario.sent() - sent, time.time() - started
        document = driver.wait()
        memory = max(resident_mb(worker.pid) for worker in cluster.workers)
    if document["state"] != "complete":
        raise RuntimeError(f"{workers} workers: {document['state']}")
    used = [1000 * (end - start) / requests for start, end in zip(started_cpu, end_cpu, strict=True)]
    return {
        "client": f"{workers} workers",
        "seconds": seconds,
        "driver": used[0],
        "scheduler": used[1],
        "workers": sum(used[2:]),
        "start": 1000 * (sum(started_cpu) - sum(before)) / lanes,
        "memory": memory,
    }


def main(lanes: int) -> None:
    """Print the table and write the result files."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="asyncgg-dask-") as folder:
        for workers in (1, 2, 4):
            rows.append(measure(Path(folder) / str(workers), lanes, workers))
            print(_TABLE.format_rows(rows), flush=True)
    _TABLE.publish(rows, f"{lanes} lanes", quick=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
