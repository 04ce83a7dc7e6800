"""Measure requests, time and memory of a fleet scan.

`python -m benchmarks.inventory [--scale N]` (two minutes). `time`: 2,000 cores with 0 to 300 things
at 200 requests/s with `--rate 200`; the minimum is ceil(C / 100) + the sum of max(1, ceil(n / 100))
requests. `memory`: peak memory for 1,000,000 associations without a quota.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.inventory import Snapshot, minimum_requests
from asyncgg.simulator import FleetSpec, SimulatorConfig
from benchmarks.processes import run_measured, server_process
from benchmarks.simulator_process import query_simulator, serve_fleet
from benchmarks.tables import write_results

RATE: Final = 200.0
CORES: Final = 2_000
MAX_THINGS_PER_CORE: Final = 300
ROUNDS: Final = 3
LIMIT_MB: Final = 300.0
MAX_RATIO: Final = 1.05
"""Target duration relative to requests / rate."""


@dataclass(frozen=True)
class ScanMeasurement:
    """One scan."""

    cores: int
    associations: int
    minimum_requests: int
    requests: int
    throttled: int
    seconds: float
    ratio: float
    """Duration relative to minimum requests / rate."""
    peak_mb: float
    cpu_seconds: float
    snapshot_mb: float


def fleet_sizes(kind: str, scale: int) -> list[int]:
    """Return the number of things of each core."""
    if kind == "time":
        rng = random.Random(4)
        return [rng.randint(0, MAX_THINGS_PER_CORE) for _ in range(CORES // scale)]
    # Short lists and long ones: half of the associations in cores of 50, half in cores of 10,000.
    return [50] * (10_000 // scale) + [10_000] * (50 // scale)


async def serve(kind: str, scale: int) -> None:
    """Serve the fleet of a benchmark."""
    names = ((f"core-{core:05}", size) for core, size in enumerate(fleet_sizes(kind, scale)))
    plan = FleetSpec.from_things(
        {core: [f"{core}-device-{n:05}" for n in range(size)] for core, size in names}, time.time()
    )
    # The burst of 50 ms absorbs delays when client and simulator share the CPUs.
    quota = {"rate": RATE, "burst": 10.0} if kind == "time" else {"rate": float("inf"), "latency_ms": 5.0}
    await serve_fleet(SimulatorConfig(**quota), plan)  # type: ignore[arg-type]  # all values are floats


def measure_scan(kind: str, scale: int) -> ScanMeasurement:
    """Run `asyncgg inventory`. Raises RuntimeError if the snapshot differs from the fleet."""
    sizes, rate = fleet_sizes(kind, scale), RATE if kind == "time" else 5_000.0
    server = server_process("-m", "benchmarks.inventory", "--serve", kind, "--scale", str(scale))
    with server as url, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        arguments = ["--out", str(path), "--endpoint-url", url, "--rate", f"{rate:g}", "--json", "--quiet"]
        usage = run_measured(["-m", "asyncgg", "inventory", *arguments])
        report: dict[str, Any] = json.loads(usage.output)
        counters = query_simulator(url, "counters")
        with Snapshot(path) as snapshot:
            recorded_sizes = [core.things for core in snapshot.cores()]
        megabytes = path.stat().st_size / 1e6
    if recorded_sizes != sizes:
        raise RuntimeError("the snapshot differs from the fleet")
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
    """Print a line per row."""
    for row in rows:
        print(
            f"{kind:7} {row.cores:7,} cores {row.associations:10,} associations  {row.requests:,} requests"
            f" (minimum {row.minimum_requests:,}), {row.throttled} throttled, {row.seconds:.1f} s"
            + (f" ({row.ratio:.3f} of requests/rate)" if kind == "time" else "")
            + f", {row.peak_mb:.0f} MB, {row.cpu_seconds:.1f} s CPU",
            flush=True,
        )


def main() -> None:
    """Run the benchmark; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=("time", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, help="divide the size of the fleets")
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
        write_results(
            "inventory", rate=RATE, limit_mb=LIMIT_MB, time=[asdict(row) for row in times], memory=asdict(memory)
        )
    if any(row.requests - row.throttled != row.minimum_requests for row in (*times, memory)):
        sys.exit("more requests than the minimum")
    if args.scale == 1 and min(row.ratio for row in times) > MAX_RATIO:
        sys.exit(f"slower than {MAX_RATIO} of requests / rate")
    if memory.peak_mb > LIMIT_MB:
        sys.exit(f"more than {LIMIT_MB:g} MB")


if __name__ == "__main__":
    main()
