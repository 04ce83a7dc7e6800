"""How much memory a run takes: peak resident set of `plan` and of a whole `disassociate`, by the manifest's size.

`python -m benchmarks.memory` (a minute or two). The service is the simulator in a process of its own, without a quota;
the figure is the kernel's, of the asyncgg process alone. `--things N` changes the largest size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.simulator_process import ENVIRONMENT, ObservedRun, query_simulator, simulator

RESULTS: Final = Path(__file__).parent / "results" / "memory.json"
LIMIT_MB: Final = 300.0

# A program's peak counts from before its exec, when it still was a copy of its parent: so the parent must be small.
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
    """Peak resident set of a command's process, in MB (10**6 bytes). Raises RuntimeError when it fails."""
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
    """A CSV of `things` associations, `per_core` of each core, at `path`."""
    with path.open("w") as file:
        file.write("core,thing\n")
        for number in range(things):
            file.write(f"core-{number // per_core:06d},device-{number:08d}\n")
    return path


def measure_plan(folder: Path, things: int) -> MemoryResult:
    """`asyncgg plan`."""
    manifest = write_manifest(folder / "fleet.csv", things)
    started = time.monotonic()
    peak_mb = peak_memory_mb(
        [sys.executable, "-m", "asyncgg", "plan", str(manifest)],
        env={**os.environ, **ENVIRONMENT, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    )
    return MemoryResult("plan", things, round(peak_mb, 1), round(time.monotonic() - started, 1))


def measure_run(folder: Path, things: int) -> MemoryResult:
    """`asyncgg disassociate`, import and all requests."""
    with simulator(cores=things // 100, things=100, rate="inf", burst=1000, latency_ms=5) as url:
        manifest, journal = folder / "fleet.csv", folder / "run.journal"
        manifest.write_text(query_simulator(url, "manifest.csv"))
        command = ["disassociate", str(manifest), "--yes", "--quiet", "--journal", str(journal)]
        command += ["--endpoint-url", url, "--rate", "5000"]
        started = time.monotonic()
        peak_mb = peak_memory_mb([sys.executable, "-m", "asyncgg", *command], env={**os.environ, **ENVIRONMENT})
        seconds = time.monotonic() - started
        remaining = ObservedRun(url).remaining
        if remaining:
            raise RuntimeError(f"{remaining} associations are left")
    journal.unlink()
    return MemoryResult("disassociate", things, round(peak_mb, 1), round(seconds, 1))


def main() -> None:
    """Measure, print, write."""
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
    result: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "limit_mb": LIMIT_MB,
        "peak_mb": max(row.peak_mb for row in rows),
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to benchmarks/results/{RESULTS.name}")
    if result["peak_mb"] > LIMIT_MB:
        sys.exit(f"more than {LIMIT_MB:g} MB")


if __name__ == "__main__":
    main()
