"""What the journal costs: imports and their memory, a claim and its outcome, a synced commit, calls that share one.

`python -m benchmarks.journal` (about half a minute; `--largest N` changes the size of the second import). Everything is
measured in the folder for temporary files, so on its disk; each import in a process of its own, for its peak memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from asyncgg.aggregator import Batch, BatchResult
from asyncgg.batching import BatchScheduler, Claim
from asyncgg.classify import ReplyVerdict
from asyncgg.journal import Importer, JournalStore, JournalWriter, RecordedReply
from asyncgg.model import ThingState

RESULTS = Path(__file__).parent / "results" / "journal.json"
THINGS_OF_A_CORE = 500
CHUNK = 10_000
COMMITS = 200
DONE = BatchResult(ReplyVerdict.ACCEPTED, ThingState.DISASSOCIATED, counts_as_attempt=True)
ANSWER = RecordedReply(0.0, "accepted", 200, "", "0" * 36)


@dataclass(frozen=True)
class Row:
    """One figure."""

    what: str
    value: float
    unit: str


@contextlib.contextmanager
def journal_of(things: int) -> Iterator[Path]:
    """A finished journal of that many things, removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.journal"
        fill(path, things)
        yield path


def fill(path: Path, things: int) -> None:
    """Import `things` associations in an order that is not the journal's own."""
    importer = Importer(path)
    step = 7_919  # a prime: walks over all numbers, out of order
    for start in range(0, things, CHUNK):
        numbers = ((number * step) % things for number in range(start, min(start + CHUNK, things)))
        importer.add([(f"core-{n // THINGS_OF_A_CORE:06}", f"client-device-{n:09}") for n in numbers])
    importer.finish({})


def measure_import(things: int) -> None:
    """In the child: import, then run all of it batch by batch; prints the times and both peaks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.journal"
        started = time.perf_counter()
        fill(path, things)
        seconds = time.perf_counter() - started
        imported = peak()
        bytes_each = path.stat().st_size / things
        asyncio.run(run_all(path, group=256))
    print(json.dumps({"seconds": seconds, "imported": imported, "run": peak(), "bytes": bytes_each}))


def peak() -> float:
    """Most memory this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run_all(path: Path, group: int) -> None:
    """Claim and settle everything, `group` batches in a call: the memory of a run without its network."""
    journal = JournalWriter(path)
    schedule = BatchScheduler(per_core=4)
    for work in await journal.submit(lambda store: list(store.pending_cores())):
        schedule.add(work)
    while True:
        claims = [claim for _ in range(group) if (claim := schedule.next_claim(0.0))]
        if not claims:
            break
        batches = await journal.submit(lambda store, claims=claims: claim_and_settle(store, claims))  # type: ignore[misc]  # a lambda with a default
        for claim, batch in zip(claims, batches, strict=True):
            schedule.advance_cursor(claim, batch.ids[-1])
            schedule.complete(claim.queue)
    journal.close()


def claim_and_settle(store: JournalStore, claims: list[Claim]) -> list[Batch]:
    """Claim batches and write their success."""
    batches = [store.claim(claim, 0.0) for claim in claims]
    for batch in batches:
        store.record_batch(batch, DONE, ANSWER)
    return batches


def imports(things: int) -> list[Row]:
    """The import of `things` associations, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.journal", "--child", str(things)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    name = f"{things:,} associations"
    return [
        Row(f"import of {name}", round(found["seconds"], 2), "s"),
        Row(f"peak memory, import of {name}", round(found["imported"]), "MB"),
        Row(f"peak memory, import and run of {name}", round(found["run"]), "MB"),
        Row(f"file, {name}", round(found["bytes"], 1), "bytes each"),
    ]


def marking() -> list[Row]:
    """What a full batch costs inside a transaction: the claim, and the outcome."""
    with journal_of(100_000) as path:
        journal = JournalWriter(path, threaded=False)
        store, connection = journal._store, journal._connection
        works = list(store.pending_cores())
        claiming, settling = [], []
        connection.execute("BEGIN IMMEDIATE")
        for work in works:
            for _ in range(THINGS_OF_A_CORE // 100):
                before = time.perf_counter()
                batch = store.claim(Claim(work, work.cursor + 1, work.last, 100), 0.0)
                between = time.perf_counter()
                store.record_batch(batch, DONE, ANSWER)
                after = time.perf_counter()
                work.cursor = batch.ids[-1]
                claiming.append(between - before)
                settling.append(after - between)
        connection.execute("COMMIT")
        journal.close()
    return [
        Row("claim of 100 things", round(statistics.median(claiming) * 1e6), "µs"),
        Row("outcome of 100 things", round(statistics.median(settling) * 1e6), "µs"),
    ]


def commits() -> list[Row]:
    """One commit, synced and not."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for mode, name in (("FULL", "synced (FULL)"), ("OFF", "not synced (OFF)")):
            connection = sqlite3.connect(Path(folder) / mode, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {mode}")
            connection.execute("CREATE TABLE t (x)")
            times = []
            for number in range(COMMITS):
                before = time.perf_counter()
                connection.execute("INSERT INTO t VALUES (?)", (number,))
                times.append(time.perf_counter() - before)
            connection.close()
            times.sort()
            rows.append(Row(f"commit, {name}, median", round(statistics.median(times) * 1e3, 3), "ms"))
            rows.append(Row(f"commit, {name}, 95th percentile", round(times[int(COMMITS * 0.95)] * 1e3, 3), "ms"))
    return rows


def sharing(callers: int) -> list[Row]:
    """Callers that each claim a batch, wait for the commit, write its outcome, and wait again."""
    batches = max(200, min(2000, callers * 50))
    with journal_of(batches * 100) as path:
        seconds, transactions = asyncio.run(share(path, callers, batches))
    name = "1 caller" if callers == 1 else f"{callers} callers at once"
    return [
        Row(f"batches, {name}", round(batches / seconds), "per s"),
        Row(f"calls in a commit, {name}", round(2 * batches / transactions, 1), ""),
    ]


async def share(path: Path, callers: int, batches: int) -> tuple[float, int]:
    """Seconds and transactions for `batches` batches."""
    journal = JournalWriter(path)
    works = iter(await journal.submit(lambda store: list(store.pending_cores())))
    claims = iter([Claim(work, work.first, work.last, 100) for work in works for _ in range(THINGS_OF_A_CORE // 100)])
    statements: list[str] = []
    journal._connection.set_trace_callback(statements.append)

    async def caller() -> None:
        for claim in claims:
            await one(journal, claim)

    before = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = time.perf_counter() - before
    journal._connection.set_trace_callback(None)
    journal.close()
    return seconds, statements.count("COMMIT")


async def one(journal: JournalWriter, claim: Claim) -> None:
    """One batch: claimed, committed, settled, committed."""
    batch = await journal.submit(lambda store: store.claim(claim, 0.0))
    await journal.submit(lambda store: store.record_batch(batch, DONE, ANSWER))


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000, help="associations of the second import")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure_import(options.child)
        return
    rows = imports(100_000) + imports(options.largest) + marking() + commits()
    for callers in (1, 8, 64):
        rows += sharing(callers)
    for row in rows:
        print(f"{row.what:<52} {row.value:>10,} {row.unit}")
    RESULTS.parent.mkdir(exist_ok=True)
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cpus": os.cpu_count(),
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
