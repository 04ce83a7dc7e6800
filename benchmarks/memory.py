"""Measure the peak memory of `plan` and `disassociate` by the size of the manifest.

`python -m benchmarks.memory [--things N]` (two minutes). The service is the simulator without a
quota; the figure is the peak resident set of the asyncgg process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import ENVIRONMENT
from benchmarks.simulator_process import query_simulator, read_associations, simulator
from benchmarks.tables import write_results

LIMIT_MB: Final = 300.0

# The peak of a process includes its parent before exec, so the parent must be small.
_LAUNCHER: Final = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass(frozen=True)
class MemoryResult:
    """One measurement."""

    command: str
    things: int
    peak_mb: float
    seconds: float


def peak_memory_mb(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> float:
    """Return the peak memory of a command in MB (10**6 bytes). Raises RuntimeError if it fails."""
    completed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    code, kibibytes = map(int, completed.stdout.split())
    if code:
        raise RuntimeError(f"{' '.join(command)}: exit {code}")
    return kibibytes * 1024 / 1e6


def write_manifest(path: Path, things: int, per_core: int = 100) -> Path:
    """Write a CSV manifest of `things` associations, `per_core` for each core."""
    with path.open("w") as file:
        file.write("core,thing\n")
        for number in range(things):
            file.write(f"core-{number // per_core:06d},device-{number:08d}\n")
    return path


def measure_plan(folder: Path, things: int) -> MemoryResult:
    """Measure `asyncgg plan`."""
    manifest = write_manifest(folder / "fleet.csv", things)
    started = time.monotonic()
    peak_mb = peak_memory_mb(
        [sys.executable, "-m", "asyncgg", "plan", str(manifest)],
        env={**os.environ, **ENVIRONMENT, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    )
    return MemoryResult("plan", things, round(peak_mb, 1), round(time.monotonic() - started, 1))


def measure_run(folder: Path, things: int) -> MemoryResult:
    """Measure `asyncgg disassociate`: import and all requests."""
    with simulator(cores=things // 100, things=100, rate="inf", burst=1000, latency_ms=5) as url:
        manifest, journal = folder / "fleet.csv", folder / "run.journal"
        manifest.write_text(query_simulator(url, "manifest.csv"))
        command = ["disassociate", str(manifest), "--yes", "--quiet", "--journal", str(journal)]
        command += ["--endpoint-url", url, "--rate", "5000"]
        started = time.monotonic()
        peak_mb = peak_memory_mb([sys.executable, "-m", "asyncgg", *command], env={**os.environ, **ENVIRONMENT})
        seconds = time.monotonic() - started
        if remaining := read_associations(url):
            raise RuntimeError(f"{len(remaining)} associations remain")
    journal.unlink()
    return MemoryResult("disassociate", things, round(peak_mb, 1), round(seconds, 1))


def main() -> None:
    """Run the benchmark; exit code 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=1_000_000)
    largest = parser.parse_args().things
    rows: list[MemoryResult] = []
    for measure in (measure_plan, measure_run):
        for things in (largest // 100, largest // 10, largest):
            with tempfile.TemporaryDirectory() as folder:
                row = measure(Path(folder), things)
            rows.append(row)
            print(f"{row.command:13} {row.things:9,} things  {row.peak_mb:6.1f} MB  {row.seconds:6.1f} s", flush=True)
    peak_mb = max(row.peak_mb for row in rows)
    write_results("memory", limit_mb=LIMIT_MB, peak_mb=peak_mb, rows=[asdict(row) for row in rows])
    if peak_mb > LIMIT_MB:
        sys.exit(f"more than {LIMIT_MB:g} MB")


if __name__ == "__main__":
    main()
