"""Compare requests per second, CPU per request and memory without a quota and latency.

`python -m benchmarks throughput`. The clients take turns, each in a separate process against its
own loopback server; the CPU share of the server shows whether it was the bottleneck. Requests per
second and CPU per request are those of the sending; `CPU ms all` is that of the whole process with
start, imports, manifest and journal. `asyncgg disassociate` gets a quota that it
cannot reach; `asyncgg engine` is the same engine and journal without a limit.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.baselines import CLI_CONCURRENCY, CONCURRENCY
from benchmarks.clients import BenchmarkClient, asyncgg, asyncgg_library, awscli, baseline, interleave
from benchmarks.loopback_server import loopback_server, server_cpu_seconds
from benchmarks.memory import write_manifest
from benchmarks.processes import run_measured
from benchmarks.tables import Column, Row, Table, median_rows

__all__ = ["BATCHES", "QUICK", "measure", "run"]

BATCHES: Final = 5000
QUICK: Final = 500
CLI_BATCHES: Final = 60

ENGINE: Final = "asyncgg engine, journal on"
COMMAND: Final = "asyncgg disassociate"
SEMAPHORE: Final = "aiobotocore + semaphore"
THREADS: Final = "boto3 + threads"

_TABLE: Final = Table(
    "throughput",
    "Throughput without a quota",
    f"100 things each, zero latency; asyncgg 64, others {CONCURRENCY} in flight (CLI {CLI_CONCURRENCY})",
    (
        Column("requests_per_second", "requests/s", plotted=True),
        Column("speedup", "speedup", "{:.1f}x"),
        Column("cpu_ms", "CPU ms/request", "{:.3f}", plotted=True),
        Column("cpu_ratio", "CPU ratio", "{:.2f}"),
        Column("cpu_ms_all", "CPU ms all", "{:.3f}"),
        Column("peak_mb", "peak MB", plotted=True),
        Column("server_percent", "server CPU", "{:.0f} %"),
        Column("lost", "lost"),
        Column("requests", "requests"),
    ),
    (ENGINE, COMMAND),
)


def measure(client: BenchmarkClient, folder: Path, batches: int) -> Row:
    """Measure one client against a new server."""
    batches = min(client.max_batches or batches, batches)
    manifest = folder / f"fleet-{batches}.csv"
    if not manifest.exists():
        write_manifest(manifest, 100 * batches, per_core=400)
    with loopback_server() as url:
        command = client.command(url, manifest)
        cpu_before = server_cpu_seconds(url)
        usage = run_measured(command)
        server_seconds = server_cpu_seconds(url) - cpu_before
    result = client.parse_result(json.loads(usage.output.splitlines()[-1]))
    cpu, seconds, sent = result["cpu_seconds"], result["seconds"], result["sent"]
    return {
        "client": client.name,
        "requests": sent,
        "requests_per_second": sent / seconds,
        "cpu_ms": None if cpu is None else 1000 * cpu / sent,
        "cpu_ms_all": 1000 * usage.cpu_seconds / sent,
        "peak_mb": usage.peak_mb,
        "server_percent": 100 * server_seconds / seconds,
        "lost": result["lost"],
    }


def _relative_to(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the rows with their ratios to the client of this name."""
    base = next(row for row in rows if row["client"] == name)
    return [
        dict(row)
        | {
            "speedup": row["requests_per_second"] / base["requests_per_second"],
            "cpu_ratio": None if row["cpu_ms"] is None else row["cpu_ms"] / base["cpu_ms"],
        }
        for row in rows
    ]


def run(quick: bool, rounds: int | None) -> None:
    """Run the benchmark."""
    batches, rounds = QUICK if quick else BATCHES, rounds or (1 if quick else 5)
    clients = [
        asyncgg_library(ENGINE, "journal"),
        asyncgg(COMMAND, "--rate", "100000", "--quota", "100000", "--burst", "1000", "--concurrency", "64"),
        baseline(SEMAPHORE, "aiobotocore"),
        baseline(THREADS, "boto3"),
        *awscli(20 if quick else CLI_BATCHES),
    ]
    measurements: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn, client in interleave(clients, rounds):
            measurements.append(measure(client, Path(folder), batches))
            print(f"{turn}: {measurements[-1]['requests_per_second']:,.0f}/s", flush=True)
    rows = _relative_to(median_rows(measurements, use_maximum=("lost", "peak_mb")), SEMAPHORE)
    _TABLE.publish(rows, f"{batches:,} requests", quick=quick, rounds=measurements, batches=batches, repeats=rounds)
    first = rows[0]
    print(
        f"{ENGINE} / {SEMAPHORE}: {first['speedup']:.1f} times the requests/s (target: 4),"
        f" {first['cpu_ratio']:.2f} of the CPU per request (target: 0.25)"
    )
