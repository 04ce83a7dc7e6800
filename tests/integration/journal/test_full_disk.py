"""A full disk: one error, no lost outcome, no partial file."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncgg.errors import AsyncggError, JournalWriteError
from asyncgg.journal import Importer, JournalReader, JournalStore, JournalWriter
from tests.support.journal import (
    ALL_DISASSOCIATED,
    RECORDED_REPLY,
    all_failed,
    blocked_commit,
    claim_all,
    create_journal,
    folder_entries,
    make_pairs,
    query_file,
)

DISK_FULL_MESSAGE = "the disk is full; free some space and try again"

LIMITED_SCRIPT = """
import asyncio, json, resource, sys
from pathlib import Path
from asyncgg.aggregator import BatchResult, ThingResult
from asyncgg.batching import Claim
from asyncgg.classify import ReplyVerdict
from asyncgg.errors import AsyncggError
from asyncgg.journal import Importer, JournalWriter, RecordedReply
from asyncgg.models import ThingState

async def main(path, limit):
    journal = JournalWriter(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    recorded, claims, error = 0, 0, None
    overrides = tuple(ThingResult(n, ThingState.FAILED, "Denied", "m" * 200) for n in range(100))
    queues = await journal.submit(lambda store: list(store.pending_cores()))
    try:
        for queue in queues:
            claim = Claim(queue, queue.first, queue.last, 100)
            batch = await journal.submit(lambda store: store.claim(claim, 1.0))
            claims += 1
            result = BatchResult(ReplyVerdict.ACCEPTED, ThingState.DISASSOCIATED, True, overrides=overrides)
            reply = RecordedReply(1.0, "x", 200, "", "")
            await journal.submit(lambda store: store.record_batch(batch, result, reply), retry_individually=True)
            recorded += 100
    except AsyncggError as caught:
        error = [type(caught).__name__, str(caught)]
    journal.close()
    print(json.dumps({"recorded": recorded, "claims": claims, "error": error}))

def importing(path, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    error = importer = None
    try:
        importer = Importer(path)
        for chunk in range(20):
            importer.add([(f"core-{chunk}", f"thing-{number}" * 5) for number in range(1000)])
        importer.finish({})
    except AsyncggError as caught:
        error = [type(caught).__name__, str(caught)]
        if importer is not None:
            importer.discard()
    print(json.dumps({"error": error}))

path, limit = Path(sys.argv[2]), int(sys.argv[3])
asyncio.run(main(path, limit)) if sys.argv[1] == "run" else importing(path, limit)
"""


def run_with_file_limit(mode: str, path: Path, limit: int) -> Any:
    """The output of a process whose files cannot exceed `limit` bytes."""
    finished = subprocess.run(
        [sys.executable, "-c", LIMITED_SCRIPT, mode, str(path), str(limit)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


async def stop_file_growth(journal: JournalWriter) -> None:
    """Limit the journal to its current size."""

    def stop_growing(store: JournalStore) -> None:
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")

    await journal.submit(stop_growing)


async def test_submit_disk_full_fails(tmp_path: Path) -> None:
    """The call that does not fit and every later one fail; a later start can record everything."""
    path = tmp_path / "j"
    create_journal(path, make_pairs(3, 100))
    journal = JournalWriter(path)
    queues = await journal.submit(lambda store: list(store.pending_cores()))
    (first,), (second,) = await journal.submit(lambda store: [claim_all(store, queue) for queue in queues[:2]])
    await stop_file_growth(journal)
    await journal.submit(lambda store: store.record_batch(first, ALL_DISASSOCIATED, RECORDED_REPLY))
    verbose = all_failed(second, message="m" * 300)
    outcome = journal.submit(lambda store: store.record_batch(second, verbose, RECORDED_REPLY), retry_individually=True)
    claim = journal.submit(lambda store: claim_all(store, queues[2]))
    results = await asyncio.gather(outcome, claim, return_exceptions=True)
    assert [type(result) for result in results] == [JournalWriteError] * 2
    assert {str(result) for result in results} == {f"{path}: {DISK_FULL_MESSAGE}"}
    with pytest.raises(JournalWriteError, match=DISK_FULL_MESSAGE):
        await journal.submit(lambda store: store.put(later="1"))
    journal.close()
    assert folder_entries(path) == ["j"]

    journal = JournalWriter(path)
    assert journal.recovered >= 100  # the batch without an outcome is ambiguous
    queues = await journal.submit(lambda store: list(store.pending_cores()))
    assert [queue.unsent for queue in queues] == [100, 100]
    (reclaimed,) = await journal.submit(lambda store: claim_all(store, queues[0]))
    assert (reclaimed.things, reclaimed.ambiguous) == (second.things, (True,) * 100)
    await journal.submit(lambda store: store.record_batch(reclaimed, verbose, RECORDED_REPLY))
    journal.close()
    assert query_file(path, "SELECT state, count(*) FROM thing GROUP BY state ORDER BY state") == [
        (0, 100),
        (2, 100),
        (3, 100),
    ]


async def test_submit_disk_full_retries_outcome(tmp_path: Path) -> None:
    """The outcome in the transaction of a failed claim is recorded."""
    path = tmp_path / "j"
    create_journal(path, make_pairs(2, 100))
    journal = JournalWriter(path)
    queues = await journal.submit(lambda store: list(store.pending_cores()))
    (batch,) = await journal.submit(lambda store: claim_all(store, queues[0]))
    await stop_file_growth(journal)
    with blocked_commit(journal):
        oversized = journal.submit(lambda store: store.put(big="m" * 20_000))
        outcome = journal.submit(
            lambda store: store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY), retry_individually=True
        )
    with pytest.raises(JournalWriteError, match=DISK_FULL_MESSAGE):
        await oversized
    await outcome
    journal.close()
    with JournalReader(path) as reader:
        assert reader.counts().disassociated == 100


@pytest.mark.parametrize("limit", [40_000, 120_000, 400_000])
def test_submit_file_size_limit_keeps_committed(tmp_path: Path, limit: int) -> None:
    """With a file size limit of the process, what was reported as committed is in the file."""
    path = tmp_path / "j"
    create_journal(path, make_pairs(60, 100))
    output = run_with_file_limit("run", path, limit)
    assert output["error"] is not None
    error_type, message = output["error"]
    assert error_type == "JournalWriteError"
    assert re.match(f"{path}: (the disk is full|disk I/O error)", message)
    assert "\n" not in message
    with JournalReader(path) as reader:
        counts = reader.counts()
        assert counts.failed == output["recorded"]
        assert counts.pending + counts.failed == 6000
        assert counts.sent == output["claims"]
    journal = JournalWriter(path)
    assert journal.recovered == 100 * output["claims"] - output["recorded"]
    journal.close()
    assert folder_entries(path) == ["j"]


@pytest.mark.parametrize("limit", [0, 4096, 10_000, 50_000, 700_000])
def test_import_file_size_limit_removes_file(tmp_path: Path, limit: int) -> None:
    """An import without enough space fails and leaves no file."""
    output = run_with_file_limit("import", tmp_path / "j", limit)
    error_type, message = output["error"]
    assert error_type == "JournalWriteError"
    assert re.match(f"{tmp_path / 'j'}: (the disk is full|disk I/O error)", message)
    assert folder_entries(tmp_path / "j") == []


def test_import_disk_full_at_any_step_removes_file(tmp_path: Path) -> None:
    """Whatever step fails, the error is the same and the file is removed."""
    create_journal(tmp_path / "whole", make_pairs(4, 500))
    (pages,) = query_file(tmp_path / "whole", "PRAGMA page_count")[0]
    outcomes = set()
    for limit in range(8, pages + 1):
        path = tmp_path / "j"
        importer = Importer(path)
        importer._connection.execute(f"PRAGMA max_page_count = {limit}")
        importer.add(make_pairs(4, 500))
        try:
            importer.finish({})
            outcomes.add("finished")
            importer.discard()
        except AsyncggError as error:
            outcomes.add(str(error))
        assert folder_entries(path) == ["whole"]
    assert outcomes == {"finished", f"{path}: {DISK_FULL_MESSAGE}"}
