"""Measure the CPU per request that each layer of asyncgg adds.

`python -m benchmarks overhead`. The layers take turns, each in a separate process against a
loopback server; the last one is the whole engine with its journal. The cost of a layer is the
difference of two similar medians and therefore within their noise.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.clients import asyncgg_library, interleave
from benchmarks.engine_layers import LAYERS
from benchmarks.tables import Column, Row, Table, median_rows
from benchmarks.throughput import BATCHES, QUICK, measure

__all__ = ["run"]

_NAMES: Final = {
    "transport": "transport alone",
    "limiter": "+ limiter",
    "aggregator": "+ classify, aggregator",
    "journal": "+ engine, journal",
}
_TABLE: Final = Table(
    "overhead",
    "What each layer costs",
    "100 things each, asyncgg as a library, 64 in flight, no quota, zero latency",
    (
        Column("cpu_ms", "CPU ms/request", "{:.3f}", plotted=True),
        Column("added_ms", "added ms", "{:+.3f}", plotted=True),
        Column("requests_per_second", "requests/s", plotted=True),
        Column("server_percent", "server CPU", "{:.0f} %"),
    ),
    (_NAMES["journal"],),
)


def run(quick: bool, rounds: int | None) -> None:
    """Run the benchmark."""
    batches, rounds = QUICK if quick else BATCHES, rounds or (1 if quick else 5)
    clients = [asyncgg_library(_NAMES[layer], layer) for layer in LAYERS]
    measurements: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn, client in interleave(clients, rounds):
            measurements.append(measure(client, Path(folder), batches))
            print(f"{turn}: {measurements[-1]['cpu_ms']:.3f} ms", flush=True)
    rows: list[Row] = []
    previous_cpu_ms = 0.0
    for row in median_rows(measurements):
        rows.append(dict(row) | {"added_ms": row["cpu_ms"] - previous_cpu_ms})
        previous_cpu_ms = row["cpu_ms"]
    _TABLE.publish(rows, f"{batches:,} requests", quick=quick, rounds=measurements, batches=batches, repeats=rounds)
