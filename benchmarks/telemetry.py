"""Measure the CPU per request that logs and metrics add to the engine with its journal.

`python -m benchmarks.telemetry [--rounds N]` (about two minutes). One process sends short runs to a
loopback server, with and without telemetry in turn, so that both have the same state of the machine.
The result compares the quarters of the runs with the least CPU, because other processes only add.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Final

from asyncgg.cli.supervisor import run_async
from asyncgg.engine import Engine, EngineOptions, Lane
from asyncgg.journal import Importer, JournalWriter
from asyncgg.models import RunState
from asyncgg.settings import Settings
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.observers import open_telemetry
from asyncgg.testing import FixedRate
from asyncgg.transport import ConnectionConfig, Transport, open_transport
from benchmarks.loopback_server import loopback_server
from benchmarks.processes import ENVIRONMENT, SendMeter

REQUESTS: Final = 400
WORKERS: Final = 64
ROUNDS: Final = 60


def _variants(folder: Path) -> dict[str, Settings | None]:
    requests, metrics = folder / "requests.jsonl", folder / "run.prom"
    return {
        "off": None,
        "--metrics-file": Settings(metrics_file=metrics),
        "--log-requests": Settings(log_requests=requests),
        "both": Settings(log_requests=requests, metrics_file=metrics),
    }


async def _run(path: Path, transport: Transport, settings: Settings | None) -> float:
    """Run a journal; the CPU in milliseconds per request."""
    journal = JournalWriter(path)
    try:
        await journal.submit(lambda store: store.begin_resume())
        lane = Lane(transport, FixedRate(math.inf, burst=1e9))
        options = EngineOptions(concurrency=WORKERS)
        gc.collect()
        if settings is None:
            engine = Engine(journal, lane, options)
            with SendMeter() as meter:
                result = await engine.run()
        else:
            async with open_telemetry(settings, TelemetryLabels("disassociate", "1", "eu-west-1")) as telemetry:
                engine = Engine(journal, lane, options, telemetry.listeners)
                telemetry.watch(engine)
                with SendMeter() as meter:
                    result = await engine.run()
        if result.state is not RunState.COMPLETE:
            raise RuntimeError(f"run {result.state.value}: {result.reason}")
        return 1000 * meter.cpu_seconds / engine.progress().sent
    finally:
        journal.close()


async def measure(url: str, folder: Path, rounds: int) -> dict[str, list[float]]:
    """The milliseconds per request of each variant, in rounds."""
    template = folder / "template"
    importer = Importer(template)
    importer.add([(f"core-{c}", f"thing-{c}-{t}") for c in range(REQUESTS // 4) for t in range(400)])
    importer.finish({"run": "benchmark", "state": "planned"})
    figures: dict[str, list[float]] = {name: [] for name in _variants(folder)}
    async with open_transport(ConnectionConfig(endpoint_url=url, max_connections=WORKERS), "native") as transport:
        for number in range(rounds + 1):
            for name, settings in _variants(folder).items():
                path = folder / f"{number}-{name}"
                await asyncio.to_thread(shutil.copy, template, path)
                figures[name].append(await _run(path, transport, settings))
                path.unlink()
    return {name: values[1:] for name, values in figures.items()}  # the first round warms up


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as name, loopback_server() as url:
        figures = run_async(measure(url, Path(name), rounds))
    base = _undisturbed(figures["off"])
    for label, values in figures.items():
        added = _undisturbed(values) - base
        print(f"{label:<16} {_undisturbed(values):.3f} ms, {1000 * added:+5.1f} us, {added / base:+.1%}")


def _undisturbed(values: list[float]) -> float:
    """The mean of the lowest quarter: other processes of the machine only add CPU time."""
    return statistics.mean(sorted(values)[: max(1, len(values) // 4)])


if __name__ == "__main__":
    main()
