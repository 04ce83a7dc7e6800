"""What faults cost: requests sent against the fewest, seconds, things lost or invented; one kind at a time, then all.

`python -m benchmarks.faults` (some four minutes). Each mix gets a fresh simulator in a process of its own: 250 cores of
100 things, no quota, 20 ms of latency; asyncgg with `--rate 200 --request-timeout 1s`. `--cores N` changes the size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncgg import JournalReader, ThingState
from benchmarks.simulator_process import ENVIRONMENT, query_simulator

RESULTS: Final = Path(__file__).parent / "results" / "faults.json"

ERRORS: Final = ("500=3%", "500-after=2%")
RESETS: Final = ("reset-before=1.5%", "reset-after=1.5%")
LOST_REPLIES: Final = ("half=1%", "garbage=2%")
HANGS: Final = ("hang=0.5%", "hang-after=0.5%")
ENTRIES: Final = ("entry:InternalServerException=5%",)
ALL_FAULTS: Final = (*ERRORS, *RESETS, *LOST_REPLIES, *HANGS, *ENTRIES)
"""5 % of 500, 3 % of resets, 3 % of lost replies, 1 % of hangs, about half of each applied; 5 % of entries fail."""

_FAULT_MIXES: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "5 % answered 500": ERRORS,
    "3 % reset": RESETS,
    "3 % replies lost": LOST_REPLIES,
    "1 % hang": HANGS,
    "5 % of entries": ENTRIES,
    "all of them": ALL_FAULTS,
}


@dataclass(frozen=True)
class FaultResult:
    """One mix."""

    faults: str
    exit_code: int
    sent: int
    minimum: int
    ratio: float
    """Requests sent ÷ the fewest."""
    seconds: float
    lost: int
    """Things without an outcome, or told as failed."""
    false_outcomes: int
    """Things told as done that the service still holds, and things nobody asked for."""


def measure(name: str, faults: Sequence[str], cores: int) -> FaultResult:
    """One run against one fresh service."""
    command = [sys.executable, "-m", "asyncgg.simulator", "--port", "0", "--rate", "inf", "--latency-ms", "20"]
    command += ["--cores", str(cores), *(word for fault in faults for word in ("--fault", fault))]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service,
    ):
        try:
            assert service.stdout is not None
            return _run(name, service.stdout.readline().strip(), Path(folder))
        finally:
            service.terminate()


def _run(name: str, url: str, folder: Path) -> FaultResult:
    manifest, journal = folder / "fleet.csv", folder / "run.journal"
    manifest.write_text(query_simulator(url, "manifest.csv"))
    requested = {tuple(row.split(",")) for row in manifest.read_text().splitlines()[1:]}
    command = [sys.executable, "-m", "asyncgg", "disassociate", str(manifest), "--yes", "--quiet", "--json"]
    command += ["--endpoint-url", url, "--journal", str(journal), "--rate", "200", "--request-timeout", "1s"]
    completed = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE, check=False)
    summary = json.loads(completed.stdout)
    with JournalReader(journal) as reader:
        outcomes = {(row.core, row.thing): row.state for row in reader.outcomes()}
    associated = {(core, thing) for core, things in query_simulator(url, "state").items() for thing in things}
    disassociated = {pair for pair, state in outcomes.items() if state is ThingState.DISASSOCIATED}
    requests = summary["requests"]
    return FaultResult(
        faults=name,
        exit_code=completed.returncode,
        sent=requests["sent"],
        minimum=requests["minimum"],
        ratio=round(requests["sent"] / requests["minimum"], 3),
        seconds=round(summary["seconds"], 1),
        lost=len(requested - disassociated),
        false_outcomes=len(disassociated & associated) + len(outcomes.keys() - requested),
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=250)
    cores = parser.parse_args().cores
    rows: list[FaultResult] = []
    print(f"{'faults':18} {'exit':>4} {'sent':>5} {'ratio':>6} {'seconds':>8} {'lost':>5} {'invented':>8}")
    for name, faults in _FAULT_MIXES.items():
        row = measure(name, faults, cores)
        rows.append(row)
        print(
            f"{name:18} {row.exit_code:4} {row.sent:5} {row.ratio:6.3f} {row.seconds:8.1f} {row.lost:5} {row.false_outcomes:8}",
            flush=True,
        )
    result: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "things": 100 * cores,
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to benchmarks/results/{RESULTS.name}")
    if any(row.lost or row.false_outcomes for row in rows):
        sys.exit("something was lost or invented")


if __name__ == "__main__":
    main()
