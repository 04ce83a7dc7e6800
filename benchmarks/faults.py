"""Measure what injected faults cost, and check that no outcome is lost or false.

`python -m benchmarks.faults [--cores N]` (four minutes). Each mix of faults gets a new simulator:
250 cores of 100 things, no quota, 20 ms of latency; asyncgg with `--rate 200 --request-timeout 1s`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from asyncgg import JournalReader, ThingState
from benchmarks.processes import ENVIRONMENT, server_process
from benchmarks.simulator_process import query_simulator, read_associations
from benchmarks.tables import write_results

ERRORS: Final = ("500=3%", "500-after=2%")
RESETS: Final = ("reset-before=1.5%", "reset-after=1.5%")
LOST_REPLIES: Final = ("half=1%", "garbage=2%")
HANGS: Final = ("hang=0.5%", "hang-after=0.5%")
ENTRIES: Final = ("entry:InternalServerException=5%",)
ALL_FAULTS: Final = (*ERRORS, *RESETS, *LOST_REPLIES, *HANGS, *ENTRIES)
"""All faults; the service applies about half of the failed requests."""

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
    """The result of one mix of faults."""

    faults: str
    exit_code: int
    sent: int
    minimum: int
    ratio: float
    """Requests sent relative to the minimum."""
    seconds: float
    lost: int
    """Things without an outcome or with the outcome failed."""
    false_outcomes: int
    """Outcomes of things that still are associated or are not in the manifest."""


def measure(name: str, faults: Sequence[str], cores: int) -> FaultResult:
    """Run asyncgg against a new simulator with these faults."""
    options = [f"--cores={cores}", "--rate=inf", "--latency-ms=20", *(f"--fault={fault}" for fault in faults)]
    with (
        tempfile.TemporaryDirectory() as folder,
        server_process("-m", "asyncgg.simulator", "--port=0", *options) as url,
    ):
        return _run(name, url, Path(folder))


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
    associated = read_associations(url)
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
    """Run the benchmark; exit code 1 if an outcome was lost or false."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=250)
    cores = parser.parse_args().cores
    rows: list[FaultResult] = []
    print(f"{'faults':18} {'exit':>4} {'sent':>5} {'ratio':>6} {'seconds':>8} {'lost':>5} {'false':>5}")
    for name, faults in _FAULT_MIXES.items():
        row = measure(name, faults, cores)
        rows.append(row)
        print(
            f"{name:18} {row.exit_code:4} {row.sent:5} {row.ratio:6.3f} {row.seconds:8.1f} {row.lost:5}"
            f" {row.false_outcomes:5}",
            flush=True,
        )
    write_results("faults", things=100 * cores, rows=[asdict(row) for row in rows])
    if any(row.lost or row.false_outcomes for row in rows):
        sys.exit("outcomes were lost or false")


if __name__ == "__main__":
    main()
