"""Kill and stop the workers and the driver of a campaign on Dask, and check the outcome of every thing.

`python -m benchmarks.fleet_faults [workers] [stopped] [driver] [shards]`, by default all (5 minutes). Scheduler,
workers, driver, S3 (moto) and the simulators are processes of this machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.fleet_cluster import THINGS, dask_cluster, fleet_scenario
from benchmarks.tables import write_results

LEASE: Final = 12.0
INTERVAL: Final = 10.0
"""Seconds between saves."""
_IN_FLIGHT: Final = 0.2
"""Seconds after a kill within which a request of the killed worker can still arrive."""
STATE: Final = ("--state-lease", f"{LEASE:g}s", "--state-interval", f"{INTERVAL:g}s")


def kill_workers(home: Path) -> dict[str, Any]:
    """60 lanes on 4 workers, of which one is killed every 3 s, 10 times."""
    lanes, rate, requests = 60, 3.0, 180
    with fleet_scenario(home, lanes, requests, rate, name="workers") as scenario:
        with dask_cluster(scenario, 4) as cluster:
            driver = scenario.disassociate("--dask", cluster.address, *STATE)
            scenario.wait_for(lanes * 3, driver)
            kills: list[tuple[float, list[int]]] = []
            for number in range(10):
                started = time.time()
                held = scenario.lanes_of(cluster.workers[number % 4].pid)
                kills.append((time.time(), held))
                cluster.kill_worker(number % 4)
                time.sleep(max(0.0, 3.0 - (time.time() - started)))
            document = driver.wait()
        pauses = sorted(lost_lane_pauses(kills, scenario.request_times()))
        lost_lanes = sum(len(held) for _, held in kills)
        checked = scenario.check()
        return {
            **checked,
            "state": document["state"],
            "workers killed": len(kills),
            "lanes lost with them": lost_lanes,
            "pause of such a lane, median (s)": round(median(pauses), 1),
            "longest pause (s)": round(pauses[-1], 1),
            "pauses within lease + 5 s": f"{sum(pause <= LEASE + 5 for pause in pauses)} of {len(pauses)}",
            "lease (s)": LEASE,
            "requests sent again per lost lane": round(checked["resent"] / THINGS / max(1, lost_lanes), 1),
            "requests of one save interval": INTERVAL * rate,
        }


def lost_lane_pauses(kills: Sequence[tuple[float, Sequence[int]]], times: Sequence[Sequence[float]]) -> Iterator[float]:
    """Seconds from the kill of the worker that had a lane to its next request.

    A lane that another kill hits before it sends again counts from that one.
    """
    for lane, requests in enumerate(times):
        hits = [at for at, held in kills if lane in held]
        for at, next_hit in zip(hits, [*hits[1:], float("inf")], strict=True):
            later = next((request for request in requests if request > at + _IN_FLIGHT), None)
            if later is not None and later < next_hit:
                yield later - at


def stop_worker(home: Path) -> dict[str, Any]:
    """One of two workers is stopped for three leases, and wakes up when its lanes have ended elsewhere."""
    lanes, rate, requests = 8, 10.0, 150
    with fleet_scenario(home, lanes, requests, rate, name="stopped") as scenario:
        with dask_cluster(scenario, 2, worker_ttl="5s") as cluster:
            driver = scenario.disassociate("--dask", cluster.address, *STATE)
            scenario.wait_for(lanes * 20, driver)
            held = scenario.lanes_of(cluster.workers[0].pid)
            stopped_at = time.time()
            cluster.freeze_worker(0)
            document = driver.wait()
            time.sleep(max(0.0, stopped_at + 3 * LEASE - time.time()))
            before = scenario.sent()
            cluster.thaw_worker(0)
            time.sleep(LEASE)
            late = scenario.sent() - before
        return {
            **scenario.check(),
            "state": document["state"],
            "lanes of the stopped worker": len(held),
            "requests after it woke up": late,
        }


def kill_driver(home: Path) -> dict[str, Any]:
    """The driver is killed 5 times and resumed each time."""
    lanes, rate, requests = 20, 5.0, 200
    with fleet_scenario(home, lanes, requests, rate, name="driver") as scenario:
        with dask_cluster(scenario, 2) as cluster:
            driver = scenario.disassociate("--dask", cluster.address, *STATE)
            scenario.wait_for(lanes * 2, driver)
            for _ in range(5):
                time.sleep(1.5)
                driver.kill()
                driver = scenario.resume("--dask", cluster.address)
            document = driver.wait()
        return {**scenario.check(), "state": document["state"], "drivers killed": 5}


def run_shards(home: Path) -> dict[str, Any]:
    """Three processes with a shard each, without a common folder, and then one process with all lanes."""
    home.mkdir()
    with fleet_scenario(home / "three", 9, 40, 10.0, name="three") as scenario:
        drivers = [scenario.disassociate("--shard", f"{k}/3", *STATE, folder=f"host-{k}") for k in range(3)]
        three = [target for driver in drivers for target in driver.wait()["targets"]]
        scenario.home.joinpath("campaign").symlink_to("host-0")
        checked = scenario.check()
    with fleet_scenario(home / "one", 9, 40, 10.0, name="one") as scenario:
        one = scenario.disassociate(*STATE).wait()["targets"]

    def figures(targets: list[dict[str, Any]]) -> dict[str, Any]:
        return {target["name"]: (target["exit"], target["things"], target["requests"]["sent"]) for target in targets}

    return {**checked, "targets": len(one), "same result as one process": figures(three) == figures(one)}


SCENARIOS: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {
    "workers": kill_workers,
    "stopped": stop_worker,
    "driver": kill_driver,
    "shards": run_shards,
}


def main(names: list[str]) -> None:
    """Run the scenarios of these names, and write their figures."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="asyncgg-faults-") as folder:
        for name in names or SCENARIOS:
            started = time.time()
            results[name] = SCENARIOS[name](Path(folder) / name)
            print(f"{SCENARIOS[name].__doc__} ({time.time() - started:.0f} s)")
            for label, value in results[name].items():
                print(f"  {label:<36}{value}")
    write_results("fleet_faults", scenarios=results)


if __name__ == "__main__":
    main(sys.argv[1:])
