"""Measure the journal: imports, claims, outcomes, commits, and calls that share a commit.

`python -m benchmarks.journal [--largest N]` (half a minute). The journals are temporary files. Each
import runs in a separate process, for its peak memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from asyncgg.aggregator import Batch, BatchResult
from asyncgg.batching import BatchScheduler, Claim
from asyncgg.classify import ReplyVerdict
from asyncgg.journal import Importer, JournalStore, JournalWriter, RecordedReply
from asyncgg.models import ThingState
from benchmarks.tables import write_results

THINGS_PER_CORE = 500
CHUNK = 10_000
COMMITS = 200
ALL_DISASSOCIATED = BatchResult(ReplyVerdict.ACCEPTED, ThingState.DISASSOCIATED, counts_as_attempt=True)
RECORDED_REPLY = RecordedReply(0.0, "accepted", 200, "", "0" * 36)


@dataclass(frozen=True)
class Measurement:
    """One figure."""

    name: str
    value: float
    unit: str


@contextlib.contextmanager
def temporary_journal(things: int) -> Iterator[Path]:
    """Create a journal of that many things; it is deleted on exit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.journal"
        import_associations(path, things)
        yield path


def import_associations(path: Path, things: int) -> None:
    """Import `things` associations in an order that differs from that of the journal."""
    importer = Importer(path)
    step = 7_919  # a prime, so that its multiples visit every number out of order
    for start in range(0, things, CHUNK):
        numbers = ((number * step) % things for number in range(start, min(start + CHUNK, things)))
        importer.add([(f"core-{n // THINGS_PER_CORE:06}", f"client-device-{n:09}") for n in numbers])
    importer.finish({})


def measure_import(things: int) -> None:
    """Import and run all batches in this process; print the time and both peaks of memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.journal"
        started = time.perf_counter()
        import_associations(path, things)
        seconds = time.perf_counter() - started
        peak_after_import = peak_memory_mb()
        bytes_per_thing = path.stat().st_size / things
        asyncio.run(run_all(path, group=256))
    print(
        json.dumps(
            {"seconds": seconds, "imported": peak_after_import, "run": peak_memory_mb(), "bytes": bytes_per_thing}
        )
    )


def peak_memory_mb() -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run_all(path: Path, group: int) -> None:
    """Claim and record everything, `group` batches per call, as a run without its network."""
    journal = JournalWriter(path)
    scheduler = BatchScheduler(per_core=4)
    for queue in await journal.submit(lambda store: list(store.pending_cores())):
        scheduler.add(queue)
    while True:
        claims = [claim for _ in range(group) if (claim := scheduler.next_claim(0.0))]
        if not claims:
            break
        batches = await journal.submit(lambda store, claims=claims: claim_and_record(store, claims))  # type: ignore[misc]  # a lambda with a default
        for claim, batch in zip(claims, batches, strict=True):
            scheduler.advance_cursor(claim, batch.ids[-1])
            scheduler.complete(claim.queue)
    journal.close()


def claim_and_record(store: JournalStore, claims: list[Claim]) -> list[Batch]:
    """Claim batches and record their success."""
    batches = [store.claim(claim, 0.0) for claim in claims]
    for batch in batches:
        store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY)
    return batches


def measure_imports(things: int) -> list[Measurement]:
    """Measure the import of `things` associations in a separate process."""
    command = [sys.executable, "-m", "benchmarks.journal", "--child", str(things)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    name = f"{things:,} associations"
    return [
        Measurement(f"import of {name}", round(result["seconds"], 2), "s"),
        Measurement(f"peak memory, import of {name}", round(result["imported"]), "MB"),
        Measurement(f"peak memory, import and run of {name}", round(result["run"]), "MB"),
        Measurement(f"file, {name}", round(result["bytes"], 1), "bytes each"),
    ]


def measure_claims() -> list[Measurement]:
    """Measure the claim and the outcome of a full batch inside a transaction."""
    with temporary_journal(100_000) as path:
        journal = JournalWriter(path, threaded=False)
        store, connection = journal.store, journal._connection
        queues = list(store.pending_cores())
        claim_seconds, record_seconds = [], []
        connection.execute("BEGIN IMMEDIATE")
        for queue in queues:
            for _ in range(THINGS_PER_CORE // 100):
                before = time.perf_counter()
                batch = store.claim(Claim(queue, queue.cursor + 1, queue.last, 100), 0.0)
                between = time.perf_counter()
                store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY)
                after = time.perf_counter()
                queue.cursor = batch.ids[-1]
                claim_seconds.append(between - before)
                record_seconds.append(after - between)
        connection.execute("COMMIT")
        journal.close()
    return [
        Measurement("claim of 100 things", round(statistics.median(claim_seconds) * 1e6), "µs"),
        Measurement("outcome of 100 things", round(statistics.median(record_seconds) * 1e6), "µs"),
    ]


def measure_commits() -> list[Measurement]:
    """Measure a commit with and without a disk sync."""
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
            rows.append(Measurement(f"commit, {name}, median", round(statistics.median(times) * 1e3, 3), "ms"))
            rows.append(
                Measurement(f"commit, {name}, 95th percentile", round(times[int(COMMITS * 0.95)] * 1e3, 3), "ms")
            )
    return rows


def measure_shared_commits(callers: int) -> list[Measurement]:
    """Measure concurrent callers that claim and record batches, each with a commit."""
    batches = max(200, min(2000, callers * 50))
    with temporary_journal(batches * 100) as path:
        seconds, transactions = asyncio.run(run_concurrent_callers(path, callers, batches))
    name = "1 caller" if callers == 1 else f"{callers} concurrent callers"
    return [
        Measurement(f"batches, {name}", round(batches / seconds), "per s"),
        Measurement(f"calls in a commit, {name}", round(2 * batches / transactions, 1), ""),
    ]


async def run_concurrent_callers(path: Path, callers: int, batches: int) -> tuple[float, int]:
    """Return the seconds and transactions for `batches` batches."""
    journal = JournalWriter(path)
    queues = iter(await journal.submit(lambda store: list(store.pending_cores())))
    claims = iter(
        [Claim(queue, queue.first, queue.last, 100) for queue in queues for _ in range(THINGS_PER_CORE // 100)]
    )
    statements: list[str] = []
    journal._connection.set_trace_callback(statements.append)

    async def caller() -> None:
        for claim in claims:
            await run_one_batch(journal, claim)

    before = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    seconds = time.perf_counter() - before
    journal._connection.set_trace_callback(None)
    journal.close()
    return seconds, statements.count("COMMIT")


async def run_one_batch(journal: JournalWriter, claim: Claim) -> None:
    """Claim and record one batch, with a commit after each."""
    batch = await journal.submit(lambda store: store.claim(claim, 0.0))
    await journal.submit(lambda store: store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000, help="associations of the second import")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure_import(args.child)
        return
    rows = measure_imports(100_000) + measure_imports(args.largest) + measure_claims() + measure_commits()
    for callers in (1, 8, 64):
        rows += measure_shared_commits(callers)
    for row in rows:
        print(f"{row.name:<52} {row.value:>10,} {row.unit}")
    write_results("journal", sqlite=sqlite3.sqlite_version, rows=[asdict(row) for row in rows])


if __name__ == "__main__":
    main()
