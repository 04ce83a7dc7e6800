"""A fleet of simulators, an S3 and a campaign, for the benchmarks of Dask; `serve` and `serve-s3` are its servers."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from benchmarks.processes import ENVIRONMENT, server_process
from benchmarks.simulator_process import query_simulator, read_associations
from tests.support.dask_cluster import DaskCluster

THINGS: Final = 5
"""Things of each request."""
BUCKET: Final = "campaigns"
_DISASSOCIATE: Final = "Disassociate"


def fleet_of(requests: int) -> FleetSpec:
    """A fleet that takes so many requests."""
    return FleetSpec.from_things({f"core-{n}": [f"thing-{n}-{t}" for t in range(THINGS)] for n in range(requests)})


async def serve(lanes: int, requests: int) -> None:
    """Serve so many simulators until SIGTERM; the first line of output has their URLs."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = SimulatorConfig(rate=float("inf"), latency_ms=60.0)
    simulators = [Simulator(config, fleet_spec=fleet_of(requests)) for _ in range(lanes)]
    for simulator in simulators:
        await simulator.start()
    print(*(simulator.url for simulator in simulators), flush=True)
    await stop.wait()
    for simulator in simulators:
        await simulator.stop()


def serve_s3() -> None:
    """Serve S3 of moto with an empty bucket until SIGTERM."""
    import logging

    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    print(url, flush=True)
    signal.sigwait({signal.SIGTERM})


@dataclass
class Driver:
    """A process of asyncgg, and its messages with the time of `time.time`."""

    process: subprocess.Popen[str]
    output: Path
    """Its standard output: the result of many lanes fills a pipe."""
    messages: list[tuple[float, str]] = field(default_factory=list)

    def read(self) -> None:
        """Collect the messages until the process ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.messages.append((time.time(), line.rstrip()))

    def wait(self) -> dict[str, Any]:
        """The result of the command. Raises RuntimeError if it did not complete."""
        if self.process.wait():
            text = "\n".join(line for _, line in self.messages[-15:])
            raise RuntimeError(f"exit {self.process.returncode}\n{text}")
        document: dict[str, Any] = json.loads(self.output.read_text())
        return document

    def kill(self) -> None:
        """Kill it, as the loss of its machine does."""
        self.process.kill()
        self.process.wait()


@dataclass
class FleetScenario:
    """The files and servers of one campaign."""

    home: Path
    urls: list[str]
    s3: str
    location: str
    _started: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """Of all processes of the campaign."""
        return {**os.environ, **ENVIRONMENT, "AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL_S3": self.s3}

    def write_files(self, requests: int, rate: float, request_timeout: float) -> None:
        """Write targets.toml and fleet.csv."""
        text = f'[defaults]\nquota = {rate}\nburst = 2\nconcurrency = 4\nrequest-timeout = "{request_timeout}s"\n'
        with (self.home / "fleet.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("core", "thing", "target"))
            for number, url in enumerate(self.urls):
                text += f'[[target]]\nname = "t{number}"\nregion = "eu-west-1"\nendpoint-url = "{url}"\n'
                writer.writerows((pair.core, pair.thing, f"t{number}") for pair in fleet_of(requests).pairs())
        (self.home / "targets.toml").write_text(text)

    def start(self, *arguments: object) -> Driver:
        """Start asyncgg."""
        self._started += 1
        output = self.home / f"output-{self._started}.json"
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "asyncgg", *map(str, arguments)],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )
        driver = Driver(process, output)
        threading.Thread(target=driver.read, daemon=True).start()
        return driver

    def disassociate(self, *arguments: object, folder: str = "campaign") -> Driver:
        """Start the campaign."""
        words = ("fleet", "disassociate", "fleet.csv", "--targets", "targets.toml", "--campaign", folder)
        return self.start(*words, "--state", self.location, "--yes", "--json", *arguments)

    def resume(self, *arguments: object) -> Driver:
        """Resume the campaign."""
        return self.start("resume", "campaign", "--yes", "--json", *arguments)

    def sent(self) -> int:
        """Requests that the simulators have admitted."""
        return sum(query_simulator(url, "counters")["admitted"] for url in self.urls)

    def wait_for(self, requests: int, driver: Driver) -> None:
        """Wait until so many requests were admitted."""
        while self.sent() < requests:
            if driver.process.poll() is not None:
                driver.wait()
                raise RuntimeError("the campaign ended early")
            time.sleep(0.2)

    def lanes_of(self, pid: int) -> list[int]:
        """The numbers of the lanes whose lease a process holds."""
        import boto3

        session = boto3.Session("AKIDBENCHMARK", "benchmark", region_name="eu-west-1")
        client = session.client("s3", endpoint_url=self.s3)
        prefix = self.location.removeprefix(f"s3://{BUCKET}/")
        lanes = []
        for number in range(len(self.urls)):
            document = json.loads(client.get_object(Bucket=BUCKET, Key=f"{prefix}/t{number}/state.json")["Body"].read())
            holder = document["holder"]
            if holder is not None and holder["owner"].split(":")[1] == str(pid):
                lanes.append(number)
        return lanes

    def request_times(self) -> list[list[float]]:
        """When the requests of each lane arrived, by `time.time`."""
        return [
            [row["time"] for row in query_simulator(url, "requests") if _DISASSOCIATE in row["operation"]]
            for url in self.urls
        ]

    def check(self) -> dict[str, int]:
        """Compare the outcomes with the simulators: what was lost, invented, or sent again after its success."""
        driver = self.start("report", "campaign", "--outcomes", "outcomes.csv", "--json")
        driver.wait()
        with (self.home / "outcomes.csv").open(newline="") as file:
            outcomes = [((row["target"], row["core"], row["thing"]), row["outcome"]) for row in csv.DictReader(file)]
        remaining = {(f"t{n}", *pair) for n, url in enumerate(self.urls) for pair in read_associations(url)}
        counts = Counter(key for key, _ in outcomes)
        done = {key for key, outcome in outcomes if outcome in {"disassociated", "already"}}
        resent = [sum(map(len, query_simulator(url, "things")["resent_after_success"].values())) for url in self.urls]
        return {
            "things": len(counts),
            "lost": len(remaining - done) + len(counts) - len(done),
            "invented": len(done & remaining) + sum(count - 1 for count in counts.values()),
            "resent": sum(resent),
        }


@contextmanager
def fleet_scenario(
    home: Path, lanes: int, requests: int, rate: float, *, name: str, request_timeout: float = 3.0
) -> Iterator[FleetScenario]:
    """A campaign that has not started."""
    home.mkdir()
    with ExitStack() as stack:
        module = ("-m", "benchmarks.fleet_cluster")
        urls = stack.enter_context(server_process(*module, "serve", str(lanes), str(requests))).split()
        s3 = stack.enter_context(server_process(*module, "serve-s3"))
        scenario = FleetScenario(home, urls, s3, f"s3://{BUCKET}/{name}")
        scenario.write_files(requests, rate, request_timeout)
        yield scenario


def dask_cluster(scenario: FleetScenario, workers: int, worker_ttl: str = "60s") -> DaskCluster:
    """A cluster for the campaign."""
    home = scenario.home / "dask"
    return DaskCluster(home, scenario.environment, workers=workers, threads=512, worker_ttl=worker_ttl)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2]), int(sys.argv[3])))
    else:
        os.environ.update(ENVIRONMENT)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        serve_s3()
