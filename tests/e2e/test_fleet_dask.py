"""Tests of `asyncgg fleet disassociate --dask` with a real scheduler, whose workers are killed and stopped."""

from __future__ import annotations

import csv
import re
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3

from asyncgg.simulator import Simulator
from tests.support.command_line import small_fleet
from tests.support.dask_cluster import DaskCluster
from tests.support.fleet_targets import write_targets
from tests.support.moto_server import moto_server
from tests.support.programs import Program, program_environment
from tests.support.simulator import fast_config, threaded_simulator

LANES = 4
RATE = 20
PLAN = small_fleet(70, 2)
INTERVAL = 1.0
"""Seconds between saves."""
DEFAULTS = f'quota = {RATE}\nburst = 2\nrequest-timeout = "1s"'
LEASE = 4.0
STATE = ("--state-lease", f"{LEASE}s", "--state-interval", f"{INTERVAL}s")


def _create_bucket(url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of boto3
        client = boto3.client(
            *("s3", "us-east-1"), endpoint_url=url, aws_access_key_id="AKIDTEST", aws_secret_access_key="test"
        )
        client.create_bucket(Bucket="campaigns")


def admitted(simulators: list[Simulator]) -> int:
    """Requests that the simulators have admitted."""
    return sum(simulator.service.counters.admitted for simulator in simulators)


def _run_faults(home: Path) -> dict[str, Any]:
    """One worker is killed; another one is stopped for more than its leases, and wakes up."""
    with ExitStack() as stack:
        url = stack.enter_context(moto_server())
        _create_bucket(url)
        simulators = [
            stack.enter_context(threaded_simulator(fast_config(account=f"{n}" * 12, latency_ms=20.0), PLAN))
            for n in range(1, LANES + 1)
        ]
        write_targets(home, [simulator.url for simulator in simulators], PLAN, DEFAULTS)
        env = program_environment(home, AWS_ENDPOINT_URL_S3=url, PYTHONWARNINGS="default")
        cluster = stack.enter_context(DaskCluster(home / "dask", env, workers=2))
        words = ("fleet", "disassociate", "fleet.csv", "--targets", "targets.toml", "--campaign", "camp", "--yes")
        state = ("--state", "s3://campaigns/one", *STATE)
        output = ("--json", "--metrics-file", "fleet.prom")
        with Program(*words, *state, "--dask", cluster.address, *output, home=home, env=env) as program:
            deadline = time.monotonic() + 40
            while admitted(simulators) < 10 * LANES:
                assert time.monotonic() < deadline, program.wait().describe()
                time.sleep(0.02)
            cluster.freeze_worker(1)
            cluster.kill_worker(0)
            before = admitted(simulators)
            time.sleep(LEASE)
            sent_meanwhile = admitted(simulators) - before
            time.sleep(1.5)
            cluster.thaw_worker(1)
            ended = program.wait()
        report = Program("report", "camp", "--outcomes", "all.csv", "--json", home=home, env=env)
        with report:
            summary = report.wait().summary
        return {
            "ended": ended,
            "sent meanwhile": sent_meanwhile,
            "left": [len(simulator.service.fleet) for simulator in simulators],
            "resent": [sum(map(len, simulator.service.counters.resent.values())) for simulator in simulators],
            "summary": summary,
            "metrics": (home / "fleet.prom").read_text(encoding="utf-8"),
            "outcomes": list(csv.DictReader((home / "all.csv").read_text(encoding="utf-8").splitlines())),
        }


BACKGROUND_RUNS = {"fleet on dask with faults": _run_faults}


def test_killed_and_stopped_workers_lose_and_invent_nothing(background_runs: Mapping[str, Future[Any]]) -> None:
    """Each thing has one outcome, and a worker that wakes up takes its leases again before it sends.

    benchmarks/fleet_faults.py measures that it sends nothing after others have continued its lanes.
    """
    run = background_runs["fleet on dask with faults"].result(120)
    ended = run["ended"]
    assert ended.code == 0, ended.describe()
    assert "could not be renewed in time; continuing from what is saved" in ended.err
    assert "was not saved at the end of its last start" in ended.err
    assert run["sent meanwhile"] <= 2 * LANES, "only what was in flight"
    assert run["left"] == [0] * LANES
    things = ended.summary["things"]
    assert things["total"] == LANES * len(list(PLAN.pairs())) == things["disassociated"] + things["already"]
    assert run["summary"]["things"] == things
    done = re.findall(r"^asyncgg_things\{.*state=\"(?:disassociated|already)\".*\} (\S+)$", run["metrics"], re.M)
    assert sum(map(float, done)) == things["total"], "one file has the things of all targets"
    counts = Counter((row["target"], row["core"], row["thing"]) for row in run["outcomes"])
    assert set(counts.values()) == {1}
    assert len(counts) == things["total"]
    # Of a lost lane at most what was sent since its last save, and what was in flight.
    assert max(run["resent"]) <= 2 * RATE * (INTERVAL + 1.0)
    assert sum(run["resent"]) == things["already"]
