"""Disassociate a manifest with asyncgg as a library, without a quota, up to one layer.

`python -m benchmarks.engine_layers LAYER URL MANIFEST` sends 64 requests at a time and prints one
line of JSON with the seconds and CPU of the sending. Each layer includes the previous ones;
`journal` is the whole engine.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from asyncgg.aggregator import Batch, resolve_batch
from asyncgg.classify import CodeTable, classify
from asyncgg.cli.supervisor import run_async
from asyncgg.engine import Engine, EngineOptions, Lane
from asyncgg.journal import Importer, JournalWriter
from asyncgg.models import Accepted, RunState, ThingState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.testing import FixedRate
from asyncgg.transport import ConnectionConfig, open_transport
from benchmarks.baselines import read_batches
from benchmarks.processes import SendMeter

__all__ = ["LAYERS"]

LAYERS: Final = ("transport", "limiter", "aggregator", "journal")
WORKERS: Final = 64


def _unlimited_rate() -> FixedRate:
    return FixedRate(math.inf, burst=1e9)


async def send_batches(url: str, layer: str, batches: Sequence[Batch]) -> SendMeter:
    """Send the batches through the first layers in plain workers, without engine and journal."""
    table, retry = CodeTable(), RetryPolicy()
    limited, aggregated = layer != "transport", layer == "aggregator"
    items = iter(batches)
    async with open_transport(ConnectionConfig(endpoint_url=url, max_connections=WORKERS), "native") as transport:
        lane, clock = Lane(transport, _unlimited_rate()), asyncio.get_running_loop().time

        async def worker() -> None:
            for batch in items:
                if limited:
                    await lane.acquire()
                started = clock()
                reply = await transport.send(batch.core, batch.things)
                if limited:
                    lane.on_accepted(started)
                if aggregated:
                    verdict = classify(reply, batch.core, batch.things)
                    assert resolve_batch(batch, reply, verdict, table, retry).state is ThingState.DISASSOCIATED
                else:
                    assert isinstance(reply, Accepted)

        with SendMeter() as meter:
            await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return meter


async def run_engine(url: str, path: Path) -> tuple[SendMeter, int]:
    """Run the engine with its journal, as the command line does."""
    journal = JournalWriter(path)
    try:
        await journal.submit(lambda store: store.begin_resume())
        async with open_transport(ConnectionConfig(endpoint_url=url, max_connections=WORKERS), "native") as transport:
            engine = Engine(journal, Lane(transport, _unlimited_rate()), EngineOptions(concurrency=WORKERS))
            with SendMeter() as meter:
                result = await engine.run()
            if result.state is not RunState.COMPLETE:
                raise RuntimeError(f"run {result.state.value}: {result.reason}")
            return meter, engine.progress().sent
    finally:
        journal.close()


def _create_journal(manifest: Path, path: Path) -> Path:
    importer = Importer(path)
    with manifest.open() as file:
        next(file)
        while chunk := list(islice(file, 10_000)):
            importer.add([(core, thing) for core, thing in (line.rstrip("\n").split(",") for line in chunk)])
    importer.finish({"run": "benchmark", "state": "planned"})
    return path


def _load_batches(manifest: Path) -> list[Batch]:
    return [
        Batch(number, core, tuple(range(len(things))), tuple(things), (0,) * len(things), (False,) * len(things))
        for number, (core, things) in enumerate(read_batches(manifest))
    ]


def main() -> None:
    """Disassociate the manifest and print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layer", choices=LAYERS)
    parser.add_argument("url")
    parser.add_argument("manifest", type=Path)
    args = parser.parse_args()
    if args.layer == "journal":
        with tempfile.TemporaryDirectory() as folder:
            meter, sent = run_async(run_engine(args.url, _create_journal(args.manifest, Path(folder) / "run.journal")))
    else:
        batches = _load_batches(args.manifest)
        meter, sent = run_async(send_batches(args.url, args.layer, batches)), len(batches)
    meter.report(sent=sent, lost=0)


if __name__ == "__main__":
    main()
