"""How close to the quota: makespan against N/rate, throttled calls, lost batches; asyncgg beside a hand-written loop.

`python -m benchmarks.quota` (about two minutes). Each client gets a fresh simulator in a process of its own: 50
requests/s, 60 ms of latency, 1,000 full batches on 250 cores. The makespan is what the simulator saw: from the first
arrival to the last. The loop is what one writes without asyncgg: aiobotocore, a semaphore of 50, the SDK's own retries.
`--batches N` changes the size.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.simulated import ENVIRONMENT, Seen, ask, simulator

QUOTA = 50.0
RESULTS = Path(__file__).parent / "results" / "quota.json"

Client = Callable[[str, str], int]
"""Works off a manifest (text) at a URL; returns how many batches it gave up."""


@dataclass(frozen=True)
class Row:
    """One client against one service."""

    client: str
    burst: float
    ratio: float
    """Makespan ÷ (N / rate)."""
    sent: int
    minimum: int
    throttled: int
    throttled_percent: float
    batches_lost: int
    associations_left: int


def asyncgg(*options: str) -> Client:
    """asyncgg as its user starts it."""

    def run(url: str, manifest: str) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fleet.csv"
            path.write_text(manifest)
            command = [sys.executable, "-m", "asyncgg", "disassociate", str(path), "--yes", "--quiet", "--json"]
            command += ["--endpoint-url", url, "--journal", str(Path(folder) / "journal"), *options]
            done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE, check=True)
            return -(-int(json.loads(done.stdout)["things"]["failed"]) // 100)

    return run


def hand_written(mode: str) -> Client:
    """aiobotocore under a semaphore, with the SDK's retries in `mode`."""

    async def work(url: str, manifest: str) -> int:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        cores: dict[str, list[str]] = defaultdict(list)
        for row in csv.DictReader(io.StringIO(manifest)):
            cores[row["core"]].append(row["thing"])
        lost = 0
        gate = asyncio.Semaphore(50)
        config = AioConfig(retries={"mode": mode}, max_pool_connections=50)
        async with get_session().create_client("greengrassv2", endpoint_url=url, config=config) as client:

            async def one(core: str, things: list[str]) -> None:
                nonlocal lost
                entries = [{"thingName": thing} for thing in things]
                async with gate:
                    try:
                        await client.batch_disassociate_client_device_from_core_device(
                            coreDeviceThingName=core, entries=entries
                        )
                    except client.exceptions.ThrottlingException:
                        lost += 1

            batches = [
                (core, things[i : i + 100]) for core, things in cores.items() for i in range(0, len(things), 100)
            ]
            await asyncio.gather(*(one(core, things) for core, things in batches))
        return lost

    def run(url: str, manifest: str) -> int:
        os.environ.update(ENVIRONMENT)
        return asyncio.run(work(url, manifest))

    return run


def measure(name: str, client: Client, batches: int, burst: float) -> Row:
    """One client, one fresh service."""
    cores = min(250, batches)
    with simulator(cores=cores, things=100 * batches // cores, rate=QUOTA, burst=burst, latency_ms=60) as url:
        lost = client(url, ask(url, "manifest.csv"))
        seen = Seen(url)
    return Row(
        client=name,
        burst=burst,
        ratio=round(seen.seconds / (batches / QUOTA), 3),
        sent=seen.sent,
        minimum=batches,
        throttled=seen.throttled,
        throttled_percent=round(100 * seen.throttled / seen.sent, 2),
        batches_lost=lost,
        associations_left=seen.left,
    )


def table(rows: list[Row]) -> str:
    """The rows for a screen."""
    lines = [f"{'client':44} {'burst':>5} {'ratio':>6} {'sent':>5} {'throttled':>14} {'lost':>5} {'left':>6}"]
    lines += [
        f"{row.client:44} {row.burst:5.0f} {row.ratio:6.3f} {row.sent:5}"
        f" {row.throttled:6} {row.throttled_percent:5.1f} % {row.batches_lost:5} {row.associations_left:6}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=1000)
    batches = parser.parse_args().batches
    cases: list[tuple[str, Client, float]] = [
        ("asyncgg --rate 50", asyncgg("--rate", "50"), 5),
        ("asyncgg --rate 50", asyncgg("--rate", "50"), 50),
        ("asyncgg --rate 200 (overstated)", asyncgg("--rate", "200"), 5),
        ("asyncgg --rate 200 (overstated)", asyncgg("--rate", "200"), 50),
        ("aiobotocore + semaphore, retries legacy", hand_written("legacy"), 50),
        ("aiobotocore + semaphore, retries standard", hand_written("standard"), 50),
        ("aiobotocore + semaphore, retries adaptive", hand_written("adaptive"), 50),
    ]
    rows = []
    for name, client, burst in cases:
        rows.append(measure(name, client, batches, burst))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(f"\nquota {QUOTA:g}/s, 60 ms, {batches} batches of 100 on {min(250, batches)} cores\n{table(rows)}")
    result: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "quota": QUOTA,
        "latency_ms": 60,
        "batches": batches,
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to benchmarks/results/{RESULTS.name}")


if __name__ == "__main__":
    main()
