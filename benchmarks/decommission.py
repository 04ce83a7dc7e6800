"""Things decommissioned by name alone: swept, found, disassociated, verified; every step held against the service.

`python -m benchmarks.decommission` (half a minute). 600 cores of some 60 things; 5,000 things over 500 of the cores are to
go, 500 of them associated with a second core too. The simulator is a process of its own, with 500 requests/s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from benchmarks.simulator_process import ENVIRONMENT, query_simulator

RESULTS: Final = Path(__file__).parent / "results" / "things.json"
RATE: Final = 500.0
CORES: Final = 600
THINGS_PER_CORE: Final = 60
"""Of each core."""
AFFECTED_CORES: Final = 500
REMOVED_PER_CORE: Final = 10
"""Things of each touched core that are to go; the first of them is on the next core as well."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class DecommissionResult:
    """What came of it."""

    things: int
    cores: int
    """Cores that held any of them."""
    requested: int
    """Associations of these things."""
    planned: int
    disassociated: int
    """Of the wanted associations, those the service does not hold any more."""
    wrongly_disassociated: int
    """Other associations that it does not hold any more."""
    verify_result: str
    """What `asyncgg verify` said: its exit code, 0 for all as the journal says."""
    listing_requests: int
    requests: int
    throttled: int
    seconds: float
    """Of the whole command."""


def fleet() -> FleetSpec:
    """The fleet; names are unique but for the things that have two cores."""
    cores = {f"core-{c:03}": [f"thing-{c:03}-{t:02}" for t in range(THINGS_PER_CORE)] for c in range(CORES)}
    for number in range(AFFECTED_CORES):
        cores[f"core-{(number + 1) % AFFECTED_CORES:03}"].append(f"thing-{number:03}-00")
    return FleetSpec.from_things(cores)


async def serve() -> None:
    """Be the simulator, until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = SimulatorConfig(rate=RATE, burst=50.0, latency_ms=20.0)
    async with Simulator(config, fleet_spec=fleet()) as simulator:
        print(simulator.url, flush=True)
        await stop.wait()


@contextmanager
def serve_in_process() -> Iterator[str]:
    """The simulator in a process of its own; its URL."""
    command = [sys.executable, "-m", "benchmarks.decommission", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def read_associations(url: str) -> set[Pair]:
    """Who is associated with whom now."""
    return {(core, thing) for core, things in query_simulator(url, "state").items() for thing in things}


def run_asyncgg(*arguments: str, folder: Path) -> tuple[int, dict[str, Any]]:
    """A command to its end: exit code and what it wrote."""
    completed = subprocess.run(
        [sys.executable, "-m", "asyncgg", *arguments, "--quiet", "--json", "--rate", f"{RATE:g}"],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        check=False,
    )
    return completed.returncode, json.loads(completed.stdout)


def measure(folder: Path) -> DecommissionResult:
    """The whole way, once."""
    names = {f"thing-{core:03}-{number:02}" for core in range(AFFECTED_CORES) for number in range(REMOVED_PER_CORE)}
    (folder / "gone.txt").write_text("".join(f"{name}\n" for name in sorted(names)))
    with serve_in_process() as url:
        before = read_associations(url)
        requested = {pair for pair in before if pair[1] in names}
        started_at = datetime.now(UTC)
        connection = ("--endpoint-url", url)
        code, summary = run_asyncgg(
            *("disassociate", "--things", "gone.txt", "--yes", "--journal", "run.journal", *connection), folder=folder
        )
        seconds = (datetime.now(UTC) - started_at).total_seconds()
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
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="be the simulator")
    if parser.parse_args().serve:
        asyncio.run(serve())
        return
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    for name, value in asdict(result).items():
        print(f"{name.replace('_', ' '):16} {value}")
    document: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "rate": RATE,
        "fleet": {"cores": CORES, "associations": CORES * THINGS_PER_CORE + AFFECTED_CORES},
        **asdict(result),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written to benchmarks/results/{RESULTS.name}")
    if not (
        result.requested == result.planned == result.disassociated
        and not result.wrongly_disassociated
        and result.verify_result == "exit 0"
    ):
        sys.exit("not all was found and gone, or something else went")


if __name__ == "__main__":
    main()
