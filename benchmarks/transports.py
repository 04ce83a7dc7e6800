"""Measure the CPU per request of both transports and of a plain aiobotocore call.

`python -m benchmarks.transports [REQUESTS]`: requests of 100 things from 16 workers to the loopback
server, without quota, journal and engine. Medians of five interleaved rounds. The CPU share of the
server shows whether it was the bottleneck.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from asyncgg.models import Accepted
from asyncgg.transport import ConnectionConfig, open_transport
from benchmarks.loopback_server import loopback_server, server_cpu_seconds
from benchmarks.processes import ENVIRONMENT
from benchmarks.tables import write_results

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
    """Yield a call of the plain aiobotocore client."""
    config = AioConfig(max_pool_connections=WORKERS)
    async with get_session().create_client("greengrassv2", endpoint_url=url, config=config) as client:

        async def send(core: str) -> None:
            entries = [{"thingName": thing} for thing in THINGS]
            await client.batch_disassociate_client_device_from_core_device(coreDeviceThingName=core, entries=entries)

        yield send


@asynccontextmanager
async def asyncgg_transport(url: str, kind: Any) -> AsyncIterator[Send]:
    """Yield a call of a transport of asyncgg."""
    async with open_transport(ConnectionConfig(endpoint_url=url, max_connections=WORKERS), kind) as transport:

        async def send(core: str) -> None:
            assert isinstance(await transport.send(core, THINGS), Accepted)

        yield send


async def run(send: Send, requests: int) -> None:
    """Send this many requests, each for another core."""
    numbers = iter(range(requests))

    async def worker() -> None:
        for number in numbers:
            await send(f"core-device-{number}")

    await asyncio.gather(*(worker() for _ in range(WORKERS)))


async def measure(send: Send, url: str, requests: int) -> tuple[float, float, float]:
    """Return requests per second, CPU ms per request, and the CPU of the server in percent."""
    before, cpu, started = server_cpu_seconds(url), time.process_time(), time.perf_counter()
    await run(send, requests)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return requests / seconds, 1000 * cpu_seconds / requests, 100 * (server_cpu_seconds(url) - before) / seconds


async def compare(url: str, requests: int) -> list[TransportResult]:
    """Measure all clients, round by round."""
    async with (
        aiobotocore_client(url) as bare_send,
        asyncgg_transport(url, "sdk") as sdk,
        asyncgg_transport(url, "native") as native,
    ):
        clients = {"aiobotocore client": bare_send, "transport sdk": sdk, "transport native": native}
        measurements: dict[str, list[tuple[float, float, float]]] = {name: [] for name in clients}
        for send in clients.values():
            await run(send, WORKERS)  # warm up connections, TLS contexts and caches
        for _ in range(ROUNDS):
            for name, send in clients.items():
                measurements[name].append(await measure(send, url, requests))
    return [
        TransportResult(name, *(round(median(values), 3) for values in zip(*rounds, strict=True)))
        for name, rounds in measurements.items()
    ]


def main() -> None:
    """Run the benchmark."""
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
    write_results("transports", requests=requests, rounds=ROUNDS, rows=[asdict(row) for row in rows])


if __name__ == "__main__":
    main()
