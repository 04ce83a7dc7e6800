"""Run the simulator in a separate process and read what it observed."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from contextlib import AbstractContextManager
from typing import Any

from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from benchmarks.processes import server_process

__all__ = ["ObservedRun", "query_simulator", "read_associations", "serve_fleet", "simulator"]


def simulator(**options: object) -> AbstractContextManager[str]:
    """Run a simulator with these command line options; the context is its URL."""
    arguments = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return server_process("-m", "asyncgg.simulator", "--port", "0", *arguments)


async def serve_fleet(config: SimulatorConfig, fleet_spec: FleetSpec) -> None:
    """Serve a fleet in this process until SIGTERM, for `server_process`."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Simulator(config, fleet_spec=fleet_spec) as server:
        print(server.url, flush=True)
        await stop.wait()


def query_simulator(url: str, path: str) -> Any:
    """Read `path` of the control API, decoded unless it is CSV."""
    with urllib.request.urlopen(f"{url}/_sim/{path}", timeout=30) as response:
        text = response.read().decode()
    return text if path.endswith(".csv") else json.loads(text)


def read_associations(url: str) -> set[tuple[str, str]]:
    """Return all current associations as (core, thing)."""
    return {(core, thing) for core, things in query_simulator(url, "state").items() for thing in things}


class ObservedRun:
    """The disassociate requests of one client."""

    def __init__(self, url: str) -> None:
        counters = query_simulator(url, "counters")
        log = [row for row in query_simulator(url, "requests") if "Disassociate" in row["operation"]]
        self.sent = len(log)
        self.throttled = int(counters["throttled"])
        self.seconds = log[-1]["time"] - log[0]["time"]
        """Between the arrivals of the first and the last request."""
        self.remaining = len(read_associations(url))
        """Associations that still exist."""
