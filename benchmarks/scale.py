"""The cost of an association as the manifest grows: `asyncgg plan` of 10^5, 10^6 and 10^7, a run of 10^6 end to end.

`python -m benchmarks scale` (some three minutes, 2 GB in the folder for temporary files). Manifests are in random
order, with n/100 cores of skewed sizes, generated from a seed. The run is `asyncgg disassociate`, journal on, against
the fast server in a process of its own; its resident memory is sampled, and told for either half of its sending.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.loopback import server
from benchmarks.processes import measured
from benchmarks.tables import Column, Row, Table, combined

__all__ = ["run", "write_skewed"]

_SIZES: Final = (100_000, 1_000_000, 10_000_000)
_RUN: Final = 1_000_000
_LIMIT_MB: Final = 300
_LIMIT_SECONDS: Final = 120
_STRIDE: Final = 7_654_321
"""Shares no factor with a power of ten: multiplied by it, numbers come in another order, each once."""

_PLAN: Final = Table(
    "scale",
    "The cost of an association as the manifest grows: asyncgg plan",
    "random order, n/100 cores, the largest with about 10·√n things",
    (
        Column("seconds", "seconds", "{:.1f}"),
        Column("us_per_row", "µs per row", "{:.2f}", drawn=True),
        Column("of_million", "÷ second row's", "{:.2f}"),
        Column("cpu_seconds", "CPU s", "{:.1f}"),
        Column("peak_mb", "peak MB", drawn=True),
    ),
)
_END_TO_END: Final = Table(
    "scale-run",
    "A run end to end: asyncgg disassociate, journal on",
    "random order, no quota, zero latency",
    (
        Column("seconds", "seconds", "{:.1f}"),
        Column("sending_seconds", "of sending", "{:.1f}"),
        Column("requests", "requests"),
        Column("cpu_seconds", "CPU s", "{:.1f}"),
        Column("first_half_mb", "MB, first half", drawn=True),
        Column("last_half_mb", "MB, last half", drawn=True),
        Column("peak_mb", "peak MB", drawn=True),
    ),
)


def write_skewed(path: Path, associations: int, *, seed: int = 0) -> Path:
    """A manifest in random order, each thing of one core; a core's chance falls with the root of its number."""
    dice = random.Random(seed).random
    cores = max(1, associations // 100)
    with path.open("w") as file:
        file.write("core,thing\n")
        for start in range(0, associations, 50_000):
            file.writelines(
                f"core-{int(cores * dice() ** 2):06d},device-{number * _STRIDE % associations:08d}\n"
                for number in range(start, min(start + 50_000, associations))
            )
    return path


def plan(folder: Path, associations: int) -> Row:
    """`asyncgg plan`: import, sort, count."""
    manifest = write_skewed(folder / "fleet.csv", associations)
    used = measured(["-m", "asyncgg", "plan", str(manifest), "--json", "--endpoint-url", "http://127.0.0.1:9"])
    manifest.unlink()
    return {
        "client": f"plan, {associations:,} associations",
        "associations": associations,
        "seconds": used.seconds,
        "cpu_seconds": used.cpu_seconds,
        "us_per_row": 1e6 * used.seconds / associations,
        "peak_mb": used.peak_mb,
    }


def end_to_end(folder: Path, associations: int) -> tuple[Row, list[tuple[float, float]]]:
    """`asyncgg disassociate`: import, then all requests; and the memory samples."""
    manifest = write_skewed(folder / "fleet.csv", associations)
    options = ["--yes", "--quiet", "--json", "--rate", "100000", "--burst", "1000"]
    with server() as url:
        where = ["--endpoint-url", url, "--journal", str(folder / "run.journal")]
        used = measured(["-m", "asyncgg", "disassociate", str(manifest), *options, *where], sample_every=0.1)
    told: dict[str, Any] = json.loads(used.output.splitlines()[-1])
    if told["things"]["disassociated"] != associations:
        raise RuntimeError(f"of {associations} associations: {told['things']}")
    begin, middle = used.seconds - told["seconds"], used.seconds - told["seconds"] / 2
    row = {
        "client": f"run, {associations:,} associations",
        "associations": associations,
        "seconds": used.seconds,
        "sending_seconds": told["seconds"],
        "requests": told["requests"]["sent"],
        "cpu_seconds": used.cpu_seconds,
        "first_half_mb": _most(used.samples, begin, middle),
        "last_half_mb": _most(used.samples, middle, used.seconds),
        "peak_mb": used.peak_mb,
    }
    return row, used.samples


def _most(samples: Sequence[tuple[float, float]], begin: float, end: float) -> float | None:
    return max((size for at, size in samples if begin <= at <= end), default=None)


def run(quick: bool, rounds: int | None) -> None:
    """Measure, print, write."""
    small = 100 if quick else 1
    rounds = rounds or 1
    sizes = [size // small for size in _SIZES]
    seen: list[Row] = []
    for number in range(rounds):
        for associations in sizes:
            with tempfile.TemporaryDirectory() as folder:
                seen.append(plan(Path(folder), associations))
            last = seen[-1]
            print(
                f"{number + 1}/{rounds} {last['client']}: {last['seconds']:.1f} s, {last['peak_mb']:.0f} MB", flush=True
            )
    plans = combined(seen, worst=("peak_mb",))
    base = plans[1]["us_per_row"]
    plans = [dict(row) | {"of_million": row["us_per_row"] / base} for row in plans]
    _PLAN.publish(plans, f"{sizes[0]:,} to {sizes[-1]:,} associations", quick=quick, rounds=seen, repeats=rounds)
    with tempfile.TemporaryDirectory() as folder:
        row, samples = end_to_end(Path(folder), _RUN // small)
    _END_TO_END.publish([row], f"{_RUN // small:,} associations", quick=quick, samples=samples)
    _judge([*plans, row], plans[-1])


def _judge(rows: Sequence[Row], largest: Row) -> None:
    peak = max(row["peak_mb"] for row in rows)
    print(
        f"most memory {peak:.0f} MB ({_LIMIT_MB} wanted); the largest plan {largest['seconds']:.0f} s"
        f" ({_LIMIT_SECONDS} wanted), {largest['of_million']:.2f} of the middle one's cost per row (1.5 wanted)"
    )
