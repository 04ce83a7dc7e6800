"""Compare duration, throttled requests and lost batches under a quota.

`python -m benchmarks quota` (eight minutes per round). Each client gets a new simulator: 50
requests/s, burst 50, latency 60 ms + 40 ms on average, 1,500 full batches on 250 cores. The
duration is from the first to the last arrival at the simulator. A client that loses batches ends
sooner.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.baselines import CLI_CONCURRENCY, CONCURRENCY
from benchmarks.clients import BenchmarkClient, asyncgg, awscli, baseline, interleave
from benchmarks.processes import run_measured
from benchmarks.simulator_process import ObservedRun, query_simulator, simulator
from benchmarks.tables import Column, Row, Table, median_rows

__all__ = ["run"]

QUOTA: Final = 50
BURST: Final = 50
BATCHES: Final = 1500
CLI_BATCHES: Final = 60
"""With more than half a second of CPU per call, the AWS CLI stays far below the quota."""

_TABLE: Final = Table(
    "quota",
    f"Under a quota of {QUOTA} requests/s",
    f"burst {BURST}, latency 60 ms + 40 ms exponential, {CONCURRENCY} calls in flight (CLI {CLI_CONCURRENCY})",
    (
        Column("ratio", "duration ÷ (N/rate)", "{:.3f}", plotted=True),
        Column("throttled_percent", "throttled", "{:.1f} %", plotted=True),
        Column("batches_lost", "batches lost", plotted=True),
        Column("remaining", "things remaining"),
        Column("sent", "sent"),
        Column("batches", "batches"),
        Column("cpu_seconds", "CPU s", "{:.1f}"),
    ),
    (f"asyncgg --rate {QUOTA}", "asyncgg --rate 200 (overstated)"),
)


def clients(quick: bool) -> list[BenchmarkClient]:
    """Return all clients in their order."""
    modes = ("legacy", "standard", "adaptive")
    return [
        asyncgg(f"asyncgg --rate {QUOTA}", "--rate", str(QUOTA)),
        asyncgg("asyncgg --rate 200 (overstated)", "--rate", "200"),
        *(baseline(f"aiobotocore + semaphore, retries {mode}", "aiobotocore", "--mode", mode) for mode in modes),
        *(baseline(f"boto3 + threads, retries {mode}", "boto3", "--mode", mode) for mode in modes),
        baseline(f"aiobotocore + aiolimiter, at {QUOTA}/s", "aiolimiter", "--rate", str(QUOTA)),
        *awscli(20 if quick else CLI_BATCHES),
    ]


def measure(client: BenchmarkClient, batches: int) -> Row:
    """Measure one client against a new simulator."""
    batches = min(client.max_batches or batches, batches)
    cores = next(number for number in range(min(250, batches), 0, -1) if batches % number == 0)
    fleet: dict[str, object] = {"cores": cores, "things": 100 * batches // cores}
    with (
        tempfile.TemporaryDirectory() as folder,
        simulator(**fleet, rate=QUOTA, burst=BURST, latency_ms=60, jitter_ms=40) as url,
    ):
        manifest = Path(folder) / "fleet.csv"
        manifest.write_text(query_simulator(url, "manifest.csv"))
        usage = run_measured(client.command(url, manifest))
        observed = ObservedRun(url)
    return {
        "client": client.name,
        "ratio": observed.seconds / (batches / QUOTA),
        "sent": observed.sent,
        "batches": batches,
        "throttled": observed.throttled,
        "throttled_percent": 100 * observed.throttled / observed.sent,
        "batches_lost": client.parse_result(json.loads(usage.output.splitlines()[-1]))["lost"],
        "remaining": observed.remaining,
        "cpu_seconds": usage.cpu_seconds,
    }


def run(quick: bool, rounds: int | None) -> None:
    """Run the benchmark."""
    batches, rounds = 150 if quick else BATCHES, rounds or 1
    measurements: list[Row] = []
    for turn, client in interleave(clients(quick), rounds):
        row = measure(client, batches)
        measurements.append(row)
        summary = f"throttled {row['throttled_percent']:.1f} %, lost {row['batches_lost']}"
        print(f"{turn}: {row['ratio']:.3f}, {summary}", flush=True)
    rows = median_rows(measurements, use_maximum=("batches_lost", "remaining"))
    details = {"quota": QUOTA, "burst": BURST, "latency_ms": 60, "jitter_ms": 40}
    _TABLE.publish(
        rows, f"{batches:,} batches", quick=quick, rounds=measurements, batches=batches, repeats=rounds, **details
    )
