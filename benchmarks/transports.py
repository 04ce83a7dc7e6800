"""What one request costs the client: our two transports and the bare aiobotocore call, each in turn on one server.

`python -m benchmarks.transports [REQUESTS]`: requests of 100 things from 16 workers to a server in another process that
answers at once (benchmarks/loopback_server.py); no quota, no journal, no engine. Five rounds of each, interleaved; the
medians count. The server's share of a CPU says whether it was the bottleneck.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from asyncgg.models import Accepted
from asyncgg.transport import ConnectionConfig, open_transport
from benchmarks.loopback import loopback_server, server_cpu_seconds
from benchmarks.simulator_process import ENVIRONMENT

RESULTS = Path(__file__).parent / "results" / "transports.json"
WORKERS = 16
ROUNDS = 5
THINGS = tuple(f"client-device-{number:06}" for number in range(100))

Send = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class TransportResult:
    """The medians of one client."""

    client: str
    requests_per_second: float
    cpu_ms_per_request: float
    server_cpu_percent: float


@asynccontextmanager
async def aiobotocore_client(url: str) -> AsyncIterator[Send]:
    """The call as one writes it without asyncgg."""
    config = AioConfig(max_pool_connections=WORKERS)
    async with get_session().create_client("greengrassv2", endpoint_url=url, config=config) as client:

        async def send(core: str) -> None:
            entries = [{"thingName": thing} for thing in THINGS]
            await client.batch_disassociate_client_device_from_core_device(coreDeviceThingName=core, entries=entries)

        yield send


@asynccontextmanager
async def asyncgg_transport(url: str, kind: Any) -> AsyncIterator[Send]:
    """One of our transports."""
    async with open_transport(ConnectionConfig(endpoint_url=url, max_connections=WORKERS), kind) as transport:

        async def send(core: str) -> None:
            assert isinstance(await transport.send(core, THINGS), Accepted)

        yield send


async def run(send: Send, requests: int) -> None:
    """This many requests, each for another core."""
    numbers = iter(range(requests))

    async def worker() -> None:
        for number in numbers:
            await send(f"core-device-{number}")

    await asyncio.gather(*(worker() for _ in range(WORKERS)))


async def measure(send: Send, url: str, requests: int) -> tuple[float, float, float]:
    """Requests per second, CPU milliseconds per request, percent of one CPU that the server used."""
    before, cpu, started = server_cpu_seconds(url), time.process_time(), time.perf_counter()
    await run(send, requests)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return requests / seconds, 1000 * cpu_seconds / requests, 100 * (server_cpu_seconds(url) - before) / seconds


async def compare(url: str, requests: int) -> list[TransportResult]:
    """All clients, round by round."""
    async with (
        aiobotocore_client(url) as bare_send,
        asyncgg_transport(url, "sdk") as sdk,
        asyncgg_transport(url, "native") as native,
    ):
        clients = {"aiobotocore client": bare_send, "transport sdk": sdk, "transport native": native}
        measurements: dict[str, list[tuple[float, float, float]]] = {name: [] for name in clients}
        for send in clients.values():
            await run(send, WORKERS)  # connections, TLS contexts and caches are not what is measured
        for _ in range(ROUNDS):
            for name, send in clients.items():
                measurements[name].append(await measure(send, url, requests))
    return [
        TransportResult(name, *(round(median(values), 3) for values in zip(*rounds, strict=True)))
        for name, rounds in measurements.items()
    ]


def main() -> None:
    """Measure, print, write."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    os.environ.update(ENVIRONMENT)
    with loopback_server() as url:
        rows = asyncio.run(compare(url, requests))
    print(f"{'client':20} {'requests/s':>10} {'CPU ms each':>12} {'of native':>9} {'server CPU':>11}")
    for row in rows:
        ratio = row.cpu_ms_per_request / rows[-1].cpu_ms_per_request
        print(
            f"{row.client:20} {row.requests_per_second:10.0f} {row.cpu_ms_per_request:12.3f} {ratio:8.1f}x"
            f" {row.server_cpu_percent:9.0f} %"
        )
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "requests": requests,
        "rounds": ROUNDS,
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to benchmarks/results/{RESULTS.name}")


if __name__ == "__main__":
    main()
