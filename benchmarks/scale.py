"""Measure `asyncgg plan` of 10^5, 10^6 and 10^7 associations and a whole run of 10^6.

`python -m benchmarks scale` (three minutes, 2 GB of temporary files). Manifests are generated from
a seed: random order, n/100 cores of skewed sizes. The run is `asyncgg disassociate` with its
journal against the loopback server; its memory is sampled for each half of the sending.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.loopback_server import loopback_server
from benchmarks.processes import run_measured
from benchmarks.tables import Column, Row, Table, median_rows

__all__ = ["run", "write_skewed_manifest"]

_SIZES: Final = (100_000, 1_000_000, 10_000_000)
_RUN: Final = 1_000_000
_LIMIT_MB: Final = 300
_LIMIT_SECONDS: Final = 120
_STRIDE: Final = 7_654_321
"""Has no factor in common with a power of ten, so that its multiples visit each number once."""

_PLAN: Final = Table(
    "scale",
    "Cost per association by manifest size: asyncgg plan",
    "random order, n/100 cores, the largest core with about 10·√n things",
    (
        Column("seconds", "seconds", "{:.1f}"),
        Column("us_per_row", "µs per row", "{:.2f}", plotted=True),
        Column("relative_cost", "relative cost", "{:.2f}"),
        Column("cpu_seconds", "CPU s", "{:.1f}"),
        Column("peak_mb", "peak MB", plotted=True),
    ),
)
_END_TO_END: Final = Table(
    "scale-run",
    "A run end to end: asyncgg disassociate, journal on",
    "random order, no quota, zero latency",
    (
        Column("seconds", "seconds", "{:.1f}"),
        Column("sending_seconds", "sending", "{:.1f}"),
        Column("requests", "requests"),
        Column("cpu_seconds", "CPU s", "{:.1f}"),
        Column("first_half_mb", "MB, first half", plotted=True),
        Column("last_half_mb", "MB, last half", plotted=True),
        Column("peak_mb", "peak MB", plotted=True),
    ),
)


def write_skewed_manifest(path: Path, associations: int, *, seed: int = 0) -> Path:
    """Write a manifest in random order; the size of a core falls with the root of its number."""
    random_value = random.Random(seed).random
    cores = max(1, associations // 100)
    with path.open("w") as file:
        file.write("core,thing\n")
        for start in range(0, associations, 50_000):
            file.writelines(
                f"core-{int(cores * random_value() ** 2):06d},device-{number * _STRIDE % associations:08d}\n"
                for number in range(start, min(start + 50_000, associations))
            )
    return path


def measure_plan(folder: Path, associations: int) -> Row:
    """Measure `asyncgg plan`: import, sort, count."""
    manifest = write_skewed_manifest(folder / "fleet.csv", associations)
    usage = run_measured(["-m", "asyncgg", "plan", str(manifest), "--json", "--endpoint-url", "http://127.0.0.1:9"])
    manifest.unlink()
    return {
        "client": f"plan, {associations:,} associations",
        "associations": associations,
        "seconds": usage.seconds,
        "cpu_seconds": usage.cpu_seconds,
        "us_per_row": 1e6 * usage.seconds / associations,
        "peak_mb": usage.peak_mb,
    }


def measure_run(folder: Path, associations: int) -> tuple[Row, list[tuple[float, float]]]:
    """Measure `asyncgg disassociate`; return the row and the memory samples."""
    manifest = write_skewed_manifest(folder / "fleet.csv", associations)
    options = ["--yes", "--quiet", "--json", "--rate", "100000", "--burst", "1000"]
    with loopback_server() as url:
        connection = ["--endpoint-url", url, "--journal", str(folder / "run.journal")]
        usage = run_measured(["-m", "asyncgg", "disassociate", str(manifest), *options, *connection], sample_every=0.1)
    summary: dict[str, Any] = json.loads(usage.output.splitlines()[-1])
    if summary["things"]["disassociated"] != associations:
        raise RuntimeError(f"expected {associations} disassociated things, got {summary['things']}")
    sending_start, middle = usage.seconds - summary["seconds"], usage.seconds - summary["seconds"] / 2
    row = {
        "client": f"run, {associations:,} associations",
        "associations": associations,
        "seconds": usage.seconds,
        "sending_seconds": summary["seconds"],
        "requests": summary["requests"]["sent"],
        "cpu_seconds": usage.cpu_seconds,
        "first_half_mb": _peak_between(usage.samples, sending_start, middle),
        "last_half_mb": _peak_between(usage.samples, middle, usage.seconds),
        "peak_mb": usage.peak_mb,
    }
    return row, usage.samples


def _peak_between(samples: Sequence[tuple[float, float]], start: float, end: float) -> float | None:
    return max((size for at, size in samples if start <= at <= end), default=None)


def run(quick: bool, rounds: int | None) -> None:
    """Run the benchmark."""
    divisor = 100 if quick else 1
    rounds = rounds or 1
    sizes = [size // divisor for size in _SIZES]
    measurements: list[Row] = []
    for number in range(rounds):
        for associations in sizes:
            with tempfile.TemporaryDirectory() as folder:
                measurements.append(measure_plan(Path(folder), associations))
            last = measurements[-1]
            print(
                f"{number + 1}/{rounds} {last['client']}: {last['seconds']:.1f} s, {last['peak_mb']:.0f} MB", flush=True
            )
    plans = median_rows(measurements, use_maximum=("peak_mb",))
    base = plans[1]["us_per_row"]
    plans = [dict(row) | {"relative_cost": row["us_per_row"] / base} for row in plans]
    _PLAN.publish(
        plans, f"{sizes[0]:,} to {sizes[-1]:,} associations", quick=quick, rounds=measurements, repeats=rounds
    )
    with tempfile.TemporaryDirectory() as folder:
        row, samples = measure_run(Path(folder), _RUN // divisor)
    _END_TO_END.publish([row], f"{_RUN // divisor:,} associations", quick=quick, samples=samples)
    _print_limits([*plans, row], plans[-1])


def _print_limits(rows: Sequence[Row], largest: Row) -> None:
    peak = max(row["peak_mb"] for row in rows)
    print(
        f"peak memory {peak:.0f} MB (target: {_LIMIT_MB}); largest plan {largest['seconds']:.0f} s"
        f" (target: {_LIMIT_SECONDS}), relative cost {largest['relative_cost']:.2f} (target: 1.5)"
    )
