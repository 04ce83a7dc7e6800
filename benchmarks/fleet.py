"""Many lanes in one process: the share of the sum of quotas that is used, CPU and memory.

`python -m benchmarks.fleet [LANES] [SECONDS]`; the simulators run in processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from asyncgg.fleet.campaign import Campaign
from asyncgg.fleet.prepare import CampaignRequest, prepare_campaign
from asyncgg.fleet.results import campaign_to_dict
from asyncgg.fleet.routing import RoutedRows
from asyncgg.fleet.runner import CampaignOptions, CampaignRun
from asyncgg.fleet.targets import FleetTarget
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig

RATE = 30.0
BURST = 5.0
THINGS = 30
"""Things of each request."""
SIMULATOR_PROCESSES = 4


def fleet_of(requests: int) -> FleetSpec:
    """A fleet that takes so many requests."""
    return FleetSpec.from_things({f"core-{n}": [f"thing-{n}-{t}" for t in range(THINGS)] for n in range(requests)})


def serve(count: int, requests: int, connection: Connection) -> None:
    """Serve `count` simulators until the connection closes, and send their URLs."""

    async def run() -> None:
        config = SimulatorConfig(rate=RATE, burst=BURST * 2, latency_ms=60.0)
        simulators = [Simulator(config, fleet_spec=fleet_of(requests)) for _ in range(count)]
        for simulator in simulators:
            await simulator.start()
        connection.send([simulator.url for simulator in simulators])
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(connection.recv)

    asyncio.run(run())


@contextlib.contextmanager
def simulators(lanes: int, requests: int) -> Iterator[list[str]]:
    """The URLs of a simulator for each lane."""
    context = multiprocessing.get_context("spawn")
    pipes, urls = [], []
    for index in range(SIMULATOR_PROCESSES):
        parent, child = context.Pipe()
        count = len(range(index, lanes, SIMULATOR_PROCESSES))
        context.Process(target=serve, args=(count, requests, child), daemon=True).start()
        child.close()
        pipes.append(parent)
    for pipe in pipes:
        urls += pipe.recv()
    yield urls
    for pipe in pipes:
        pipe.close()


def prepare(folder: Path, urls: list[str], requests: int) -> Campaign:
    """A campaign with the same number of requests in each target."""
    values = {"quota": RATE, "burst": BURST, "allow_unknown_account": True}
    targets = [FleetTarget(f"t{n}", "", "us-east-1", {**values, "endpoint_url": url}) for n, url in enumerate(urls)]
    pairs = [(pair.core, pair.thing) for pair in fleet_of(requests).pairs()]
    rows = (RoutedRows({target.name: pairs}) for target in targets)
    settings = {target.name: (target, target.settings({}, {})) for target in targets}
    with prepare_campaign(CampaignRequest(folder=folder, source="benchmark", targets=settings), rows) as (campaign, _):
        return campaign


def main(lanes: int, seconds: float) -> None:
    """Run the lanes and print the figures."""
    os.environ.update(AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="example", AWS_CONFIG_FILE=os.devnull)
    requests = int(RATE * seconds)
    with tempfile.TemporaryDirectory() as name, simulators(lanes, requests) as urls:
        campaign = prepare(Path(name) / "campaign", urls, requests)
        cpu, started = time.process_time(), time.monotonic()
        results = asyncio.run(CampaignRun(campaign.lanes, CampaignOptions()).run())
        elapsed, cpu = time.monotonic() - started, time.process_time() - cpu
        document = campaign_to_dict(campaign.folder, results)
        ideal = (requests - BURST) / RATE
        shares = sorted(ideal / result.seconds for result in results)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(
            f"{lanes} lanes, {document['state']}: {document['things']['disassociated']:,} things,"
            f" {document['requests']['sent']:,} requests, {document['requests']['throttled']:,} throttled\n"
            f"share of the quota by lane: mean {sum(shares) / lanes:.1%}, lowest {shares[0]:.1%}\n"
            f"{elapsed:.1f} s with start, CPU {cpu:.1f} s: {cpu / elapsed / lanes:.2%} of a core per lane,"
            f" {1000 * cpu / document['requests']['sent']:.2f} ms per request; memory {memory:.0f} MB\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, float(sys.argv[2]) if len(sys.argv) > 2 else 30.0)
