"""Measure campaigns: many lanes in one process, and three quotas of which one is broken.

`python -m benchmarks fleet` (three minutes). Each campaign is an `asyncgg resume FOLDER` in a process
of its own. The client has a burst of 5, the service one of 10. A lane counts from its first request
to its last outcome; its share is the time that its quota needs divided by this time. `start s` is
the rest: imports, opening the lanes, the result. `CPU of a run` is without what a campaign of one
request for each lane uses.
"""

from __future__ import annotations

import csv
import json
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from asyncgg.fleet.prepare import CampaignRequest, prepare_campaign
from asyncgg.fleet.routing import RoutedRows
from asyncgg.fleet.targets import FleetTarget
from benchmarks.fleet_server import account_of
from benchmarks.processes import ProcessUsage, run_measured, server_process
from benchmarks.simulator_process import query_simulator, simulator
from benchmarks.tables import Column, Row, Table, median_rows

__all__ = ["run"]

RATE: Final = 30.0
BURST: Final = 5.0
SERVER_BURST: Final = 10.0
THINGS: Final = 10
"""Things of each request."""
SECONDS: Final = 25.0
QUICK_SECONDS: Final = 3.0
LANES: Final = (30, 100, 200)
QUICK_LANES: Final = (5,)
QUOTAS: Final = (30.0, 10.0, 50.0)
"""Quotas of the three targets; the credentials of the second one have expired."""

_TABLE: Final = Table(
    "fleet",
    "Campaigns",
    f"{RATE:g}/s for each lane, latency 60 ms, {THINGS} things for each request",
    (
        Column("share_percent", "share of quotas", "{:.1f} %", plotted=True),
        Column("lowest_percent", "lowest lane", "{:.1f} %"),
        Column("throttled", "throttled"),
        Column("exit_code", "exit"),
        Column("seconds", "run s", "{:.1f}"),
        Column("start_seconds", "start s", "{:.1f}", plotted=True),
        Column("core_percent", "CPU of a run", "{:.0f} % of a core", plotted=True),
        Column("cpu_ms", "CPU ms/request", "{:.3f}"),
        Column("peak_mb", "peak MB", plotted=True),
        Column("server_percent", "server CPU", "{:.0f} %"),
    ),
)


@dataclass(frozen=True)
class Lane:
    """A target of a campaign, and its rows of the manifest: so many requests of `THINGS` things."""

    name: str
    account: str
    url: str
    quota: float
    rows: list[tuple[str, str]]

    @property
    def requests(self) -> int:
        """The requests that are needed at least."""
        return len(self.rows) // THINGS

    def share(self, seconds: float) -> float:
        """The share of the quota that is used if the requests take so many seconds."""
        return (self.requests - BURST) / self.quota / seconds


def run_campaign(lanes: Sequence[Lane], expected_code: int = 0) -> tuple[dict[str, Any], ProcessUsage]:
    """The result of a campaign of these lanes, and what its process used."""
    targets = [
        FleetTarget(
            lane.name, lane.account, "us-east-1", {"endpoint_url": lane.url, "quota": lane.quota, "burst": BURST}
        )
        for lane in lanes
    ]
    pairs = (RoutedRows({lane.name: lane.rows}) for lane in lanes)
    settings = {target.name: (target, target.settings({}, {})) for target in targets}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "campaign"
        with prepare_campaign(CampaignRequest(folder=folder, source="benchmark", targets=settings), pairs):
            pass
        usage = run_measured(
            ["-m", "asyncgg", "resume", str(folder), "--yes", "--quiet", "--json"], expected_code=expected_code
        )
        return json.loads(usage.output.splitlines()[-1]), usage


def make_row(name: str, lanes: Sequence[Lane], document: dict[str, Any], usage: ProcessUsage) -> Row:
    """The figures of a campaign; lanes that are not complete do not count for the shares."""
    results = {target["name"]: target for target in document["targets"] if target["exit"] == 0}
    shares = [lane.share(results[lane.name]["seconds"]) for lane in lanes if lane.name in results]
    return {
        "client": name,
        "share_percent": 100 * mean(shares),
        "lowest_percent": 100 * min(shares),
        "throttled": document["requests"]["throttled"],
        "exit_code": document["exit"],
        "seconds": document["seconds"],
        "start_seconds": usage.seconds - document["seconds"],
        "peak_mb": usage.peak_mb,
    }


def measure_lanes(count: int, seconds: float) -> Row:
    """Measure so many lanes of the same quota in one process."""
    with server_process("-m", "benchmarks.fleet_server", str(count), str(RATE), str(SERVER_BURST)) as line:
        urls = line.split()

        def campaign(requests: int) -> tuple[list[Lane], dict[str, Any], ProcessUsage]:
            rows = [
                (f"core-{number:05d}", f"thing-{number:05d}-{thing}")
                for number in range(requests)
                for thing in range(THINGS)
            ]
            lanes = [Lane(f"t{n:03d}", account_of(n), url, RATE, rows) for n, url in enumerate(urls)]
            return lanes, *run_campaign(lanes)

        _, _, start = campaign(1)
        before = server_usage(urls[0])
        lanes, document, usage = campaign(int(RATE * seconds))
        after = server_usage(urls[0])
    run, cpu = document["seconds"], usage.cpu_seconds - start.cpu_seconds
    return {
        **make_row(f"{count} lanes", lanes, document, usage),
        "core_percent": 100 * cpu / run,
        "cpu_ms": 1000 * cpu / document["requests"]["sent"],
        "server_percent": 100 * (after["cpu_seconds"] - before["cpu_seconds"]) / run,
    }


def server_usage(url: str) -> Any:
    """What the server has seen."""
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


def measure_broken_target(seconds: float) -> Row:
    """Measure three quotas, one of them with expired credentials, against simulators."""
    lanes = []
    with ExitStack() as stack:
        for number, quota in enumerate(QUOTAS):
            options: dict[str, object] = {"cores": int(quota * seconds), "things": THINGS, "latency_ms": 60.0}
            options |= {"account": account_of(number), "rate": quota, "burst": SERVER_BURST}
            options |= {"fault": "expired-token"} if number == 1 else {}
            url = stack.enter_context(simulator(**options))
            rows = [(core, thing) for core, thing in csv.reader(query_simulator(url, "manifest.csv").splitlines()[1:])]
            lanes.append(Lane(f"t{number}", account_of(number), url, quota, rows))
        document, usage = run_campaign(lanes, expected_code=5)
    name = f"quotas of {', '.join(f'{quota:g}' for quota in QUOTAS)}/s, the second expired"
    return make_row(name, lanes, document, usage)


def run(quick: bool, rounds: int | None) -> None:
    """Run the benchmark; of several rounds, the medians."""
    seconds, measurements = QUICK_SECONDS if quick else SECONDS, []
    for _ in range(rounds or 1):
        measurements.append(measure_broken_target(seconds))
        for count in QUICK_LANES if quick else LANES:
            measurements.append(measure_lanes(count, seconds))
            print(f"{count} lanes: {measurements[-1]['share_percent']:.1f} %", flush=True)
    rows = median_rows(measurements, use_maximum=("throttled", "peak_mb"))
    _TABLE.publish(rows, f"{seconds:g} s of requests", quick=quick, rounds=measurements)
