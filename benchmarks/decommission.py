"""Disassociate things by name alone and check every step against the simulator.

`python -m benchmarks.decommission` (half a minute). 600 cores of about 60 things; 5,000 things on
500 cores are removed, 500 of them also from a second core, at 500 requests/s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.simulator import FleetSpec, SimulatorConfig
from benchmarks.processes import ENVIRONMENT, server_process
from benchmarks.simulator_process import query_simulator, read_associations, serve_fleet
from benchmarks.tables import write_results

RATE: Final = 500.0
CORES: Final = 600
THINGS_PER_CORE: Final = 60
AFFECTED_CORES: Final = 500
REMOVED_PER_CORE: Final = 10
"""Things to remove from each affected core; the first of them is on the next core as well."""


@dataclass(frozen=True)
class DecommissionResult:
    """The result of the benchmark."""

    things: int
    cores: int
    """Cores with any of these things."""
    requested: int
    """Associations of these things."""
    planned: int
    disassociated: int
    """Requested associations that no longer exist."""
    wrongly_disassociated: int
    """Other associations that no longer exist."""
    verify_result: str
    """Exit code of `asyncgg verify`; 0: the service agrees with the journal."""
    listing_requests: int
    requests: int
    throttled: int
    seconds: float
    """Duration of the whole command."""


def fleet() -> FleetSpec:
    """Return the fleet."""
    cores = {f"core-{c:03}": [f"thing-{c:03}-{t:02}" for t in range(THINGS_PER_CORE)] for c in range(CORES)}
    for number in range(AFFECTED_CORES):
        cores[f"core-{(number + 1) % AFFECTED_CORES:03}"].append(f"thing-{number:03}-00")
    return FleetSpec.from_things(cores)


def run_asyncgg(*arguments: str, folder: Path) -> tuple[int, dict[str, Any]]:
    """Run a command; return its exit code and JSON output."""
    completed = subprocess.run(
        [sys.executable, "-m", "asyncgg", *arguments, "--quiet", "--json", "--rate", f"{RATE:g}"],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        check=False,
    )
    return completed.returncode, json.loads(completed.stdout)


def measure(folder: Path) -> DecommissionResult:
    """Run the benchmark once."""
    names = {f"thing-{core:03}-{number:02}" for core in range(AFFECTED_CORES) for number in range(REMOVED_PER_CORE)}
    (folder / "things.txt").write_text("".join(f"{name}\n" for name in sorted(names)))
    with server_process("-m", "benchmarks.decommission", "--serve") as url:
        before = read_associations(url)
        requested = {pair for pair in before if pair[1] in names}
        started_at = time.monotonic()
        connection = ("--endpoint-url", url)
        code, summary = run_asyncgg(
            *("disassociate", "--things", "things.txt", "--yes", "--journal", "run.journal", *connection), folder=folder
        )
        seconds = time.monotonic() - started_at
        if code:
            raise RuntimeError(f"exit {code}: {summary}")
        counters = query_simulator(url, "counters")
        after = read_associations(url)
        verify_code, _ = run_asyncgg("verify", "run.journal", *connection, folder=folder)
    requests = counters["requests"]
    return DecommissionResult(
        things=len(names),
        cores=len({core for core, _ in requested}),
        requested=len(requested),
        planned=summary["things"]["total"],
        disassociated=len(requested - after),
        wrongly_disassociated=len(before - after - requested),
        verify_result=f"exit {verify_code}",
        listing_requests=sum(count for operation, count in requests.items() if operation.startswith("List")),
        requests=summary["requests"]["sent"],
        throttled=counters["throttled"],
        seconds=round(seconds, 1),
    )


def main() -> None:
    """Run the benchmark; exit code 1 if the result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().serve:
        asyncio.run(serve_fleet(SimulatorConfig(rate=RATE, burst=50.0, latency_ms=20.0), fleet()))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    for name, value in asdict(result).items():
        print(f"{name.replace('_', ' '):22} {value}")
    fleet_size = {"cores": CORES, "associations": CORES * THINGS_PER_CORE + AFFECTED_CORES}
    write_results("decommission", rate=RATE, fleet=fleet_size, **asdict(result))
    if not (
        result.requested == result.planned == result.disassociated
        and not result.wrongly_disassociated
        and result.verify_result == "exit 0"
    ):
        sys.exit("associations are missing or were wrongly removed")


if __name__ == "__main__":
    main()
