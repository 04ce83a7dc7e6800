"""What a sweep of the fleet takes: requests and time at a quota, against the formula; and memory for a large fleet.

`python -m benchmarks.inventory` (two minutes). `time`: 2,000 cores with 0 to 300 things each at 200 requests/s, told
`--rate 200`; the fewest requests are ceil(C / 100) + the sum of max(1, ceil(n / 100)). `memory`: 1,000,000
associations, no quota; the peak is the kernel's, of the asyncgg process alone. The simulator is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncgg.inventory import Snapshot, minimum_requests
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from benchmarks.processes import run_measured
from benchmarks.simulator_process import query_simulator

RESULTS: Final = Path(__file__).parent / "results" / "inventory.json"
RATE: Final = 200.0
CORES: Final = 2_000
MAX_THINGS_PER_CORE: Final = 300
"""Things of a core."""
ROUNDS: Final = 3
LIMIT_MB: Final = 300.0
MAX_RATIO: Final = 1.05
"""Of requests / rate: what a sweep may take."""


@dataclass(frozen=True)
class ScanMeasurement:
    """One sweep, as its command told it and the simulator saw it."""

    cores: int
    associations: int
    minimum_requests: int
    requests: int
    throttled: int
    seconds: float
    ratio: float
    """Of `seconds` to formula / rate."""
    peak_mb: float
    cpu_seconds: float
    snapshot_mb: float


def fleet_sizes(kind: str, scale: int) -> list[int]:
    """Things of each core of the fleet of a benchmark."""
    if kind == "time":
        rng = random.Random(4)
        return [rng.randint(0, MAX_THINGS_PER_CORE) for _ in range(CORES // scale)]
    # Short lists and long ones: half of the associations in cores of 50, half in cores of 10,000.
    return [50] * (10_000 // scale) + [10_000] * (50 // scale)


@contextmanager
def serve_in_process(kind: str, scale: int) -> Iterator[str]:
    """The simulator with that fleet; gives its URL."""
    command = [sys.executable, "-m", "benchmarks.inventory", "--serve", kind, "--scale", str(scale)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def serve(kind: str, scale: int) -> None:
    """Be that simulator."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    names = ((f"core-{core:05}", size) for core, size in enumerate(fleet_sizes(kind, scale)))
    plan = FleetSpec.from_things(
        {core: [f"{core}-device-{n:05}" for n in range(size)] for core, size in names}, time.time()
    )
    # A burst of 50 ms of the rate: what comes 10 ms late because both processes share two CPUs is no excess.
    quota = {"rate": RATE, "burst": 10.0} if kind == "time" else {"rate": float("inf"), "latency_ms": 5.0}
    async with Simulator(SimulatorConfig(**quota), fleet_spec=plan) as simulator:  # type: ignore[arg-type]  # a table of floats
        print(simulator.url, flush=True)
        await stop.wait()


def measure_scan(kind: str, scale: int) -> ScanMeasurement:
    """`asyncgg inventory` of that fleet. Raises RuntimeError when the snapshot is not the fleet."""
    sizes, rate = fleet_sizes(kind, scale), RATE if kind == "time" else 5_000.0
    with serve_in_process(kind, scale) as url, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        arguments = ["--out", str(path), "--endpoint-url", url, "--rate", f"{rate:g}", "--json", "--quiet"]
        usage = run_measured(["-m", "asyncgg", "inventory", *arguments])
        report: dict[str, Any] = json.loads(usage.output)
        counters = query_simulator(url, "counters")
        with Snapshot(path) as snapshot:
            recorded_sizes = [core.things for core in snapshot.cores()]
        megabytes = path.stat().st_size / 1e6
    if recorded_sizes != sizes:
        raise RuntimeError("the snapshot is not the fleet")
    minimum = minimum_requests(sizes)
    return ScanMeasurement(
        cores=len(sizes),
        associations=sum(sizes),
        minimum_requests=minimum,
        requests=sum(counters["requests"].values()),
        throttled=counters["throttled"],
        seconds=report["seconds"],
        ratio=round(report["seconds"] / (minimum / rate), 3),
        peak_mb=round(usage.peak_mb, 1),
        cpu_seconds=round(usage.cpu_seconds, 2),
        snapshot_mb=round(megabytes, 1),
    )


def print_rows(kind: str, rows: Sequence[ScanMeasurement]) -> None:
    """A line for each."""
    for row in rows:
        print(
            f"{kind:7} {row.cores:7,} cores {row.associations:10,} associations  {row.requests:,} requests"
            f" (formula {row.minimum_requests:,}), {row.throttled} throttled, {row.seconds:.1f} s"
            + (f" ({row.ratio:.3f} of requests/rate)" if kind == "time" else "")
            + f", {row.peak_mb:.0f} MB, {row.cpu_seconds:.1f} s CPU",
            flush=True,
        )


def main() -> None:
    """Measure, print, write; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=("time", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, help="divide the fleets by this, to see that it works")
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve, args.scale))
        return
    times = []
    for _ in range(ROUNDS if args.scale == 1 else 1):
        times.append(measure_scan("time", args.scale))
        print_rows("time", times[-1:])
    memory = measure_scan("memory", args.scale)
    print_rows("memory", [memory])
    if args.scale == 1:
        result = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "rate": RATE,
            "limit_mb": LIMIT_MB,
            "time": [asdict(row) for row in times],
            "memory": asdict(memory),
        }
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        print(f"written to benchmarks/results/{RESULTS.name}")
    if any(row.requests - row.throttled != row.minimum_requests for row in (*times, memory)):
        sys.exit("more requests than the formula")
    if args.scale == 1 and min(row.ratio for row in times) > MAX_RATIO:
        sys.exit(f"slower than {MAX_RATIO} of requests / rate")
    if memory.peak_mb > LIMIT_MB:
        sys.exit(f"more than {LIMIT_MB:g} MB")


if __name__ == "__main__":
    main()
