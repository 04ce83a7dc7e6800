"""Measure `asyncgg report --html` of a run of 1,000,000 associations.

`python -m benchmarks report` (under a minute, 150 MB of temporary files). The journal has 10,000
cores; on 3 % of them access is denied, 5 % of the requests are throttled and resent, and in half of
the accepted ones a thing fails with one of 5 codes and a message of its own.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Final

from asyncgg.aggregator import BatchResult, ThingResult
from asyncgg.batching import Claim
from asyncgg.classify import ReplyVerdict
from asyncgg.events import RateReason
from asyncgg.journal import Importer, JournalStore, RecordedReply
from asyncgg.journal.schema import FORMAT
from asyncgg.models import RunState, ThingState
from benchmarks.processes import run_measured
from benchmarks.tables import Column, Row, Table

_THINGS: Final = 1_000_000
_QUICK_THINGS: Final = 20_000
_PER_CORE: Final = 100
_RATE: Final = 30.0
_STARTED_AT: Final = 1_800_000_000.0

_TABLE: Final = Table(
    "report",
    "The HTML report of a run",
    "100 things per core, 3 % of the cores denied, 5 % of the requests throttled",
    (
        Column("seconds", "seconds", "{:.1f}", plotted=True),
        Column("cpu_seconds", "CPU s", "{:.1f}"),
        Column("page_mb", "page MB", "{:.2f}", plotted=True),
        Column("peak_mb", "peak MB", plotted=True),
    ),
)


def build_journal(path: Path, things: int, *, seed: int = 0) -> None:
    """Create the journal of a completed run with failures, without sending anything."""
    importer = Importer(path)
    for start in range(0, things, 5_000):
        numbers = range(start, min(start + 5_000, things))
        importer.add([(f"core-{number // _PER_CORE:06d}", f"device-{number:08d}") for number in numbers])
    meta = {"run": "benchmark", "created": str(_STARTED_AT), "source": "fleet.csv", "region": "us-east-1"}
    importer.finish(meta)
    connection = FORMAT.open(path, read_only=False)
    connection.execute("PRAGMA synchronous = OFF")
    store, rng, at = JournalStore(connection), random.Random(seed), _STARTED_AT
    connection.execute("BEGIN")
    for number, core in enumerate(store.pending_cores()):
        if number % 30 == 0:
            store.record_rate(at, _RATE * rng.uniform(0.8, 1.0), rng.choice(list(RateReason)).value)
        throttled = rng.random() < 0.05
        for verdict in (ReplyVerdict.THROTTLED,) * throttled + (ReplyVerdict.ACCEPTED,):
            at += 1 / _RATE
            batch = store.claim(Claim(core, core.first, core.last, core.last - core.first + 1), now=at)
            reply = RecordedReply(at + rng.expovariate(10), verdict.value, 200, "", f"id-{number}", at)
            store.record_batch(batch, _result(verdict, number, len(batch.things), rng), reply)
    store.put(state=RunState.PARTIAL, seconds=at - _STARTED_AT)
    connection.execute("COMMIT")
    connection.close()


def _result(verdict: ReplyVerdict, number: int, things: int, rng: random.Random) -> BatchResult:
    if verdict is ReplyVerdict.THROTTLED:
        return BatchResult(verdict, ThingState.PENDING, counts_as_attempt=False, requeued=things)
    failed = range(things) if number % 33 == 0 else range(number % 2)
    overrides = tuple(
        ThingResult(index, ThingState.FAILED, f"Failure{rng.randrange(5)}Exception", f"Thing {number}-{index} is busy")
        for index in failed
    )
    return BatchResult(verdict, ThingState.DISASSOCIATED, counts_as_attempt=True, overrides=overrides)


def measure(things: int) -> Row:
    """Measure the command as a process, with its start."""
    with tempfile.TemporaryDirectory() as folder:
        journal, page = Path(folder, "run.journal"), Path(folder, "report.html")
        build_journal(journal, things)
        usage = run_measured(["-m", "asyncgg", "report", str(journal), "--html", str(page), "--json"])
        return {
            "client": f"{things:,} associations",
            "seconds": usage.seconds,
            "cpu_seconds": usage.cpu_seconds,
            "page_mb": page.stat().st_size / 1e6,
            "peak_mb": usage.peak_mb,
        }


def run(quick: bool, rounds: int | None) -> None:
    """Print the table and write the result files."""
    sizes = (_QUICK_THINGS,) if quick else (_QUICK_THINGS, _THINGS)
    _TABLE.publish([measure(things) for things in sizes], f"{sizes[-1]:,} associations", quick=quick)


if __name__ == "__main__":
    build_journal(Path(sys.argv[1]), int(sys.argv[2]))
