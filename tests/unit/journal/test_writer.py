"""The writer of journals: order, group commits, durability, errors."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncgg.aggregator import Batch
from asyncgg.batching import CoreQueue
from asyncgg.errors import InternalError, JournalError, JournalWriteError
from asyncgg.journal import JournalReader, JournalStore, JournalWriter
from asyncgg.models import RunState, ThingState
from asyncgg.testing import run_virtual
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of 3 cores with 150 things each."""
    create_journal(tmp_path / "j", make_pairs(3, 150))
    return tmp_path / "j"


@contextmanager
def open_journal(path: Path, *, threaded: bool = True) -> Iterator[JournalWriter]:
    """An open journal, closed at the end."""
    journal = JournalWriter(path, threaded=threaded)
    try:
        yield journal
    finally:
        journal.close()


def first_core(store: JournalStore) -> CoreQueue:
    """The first core with pending things."""
    return next(store.pending_cores())


def append_call(order: list[int], number: int) -> Callable[[JournalStore], None]:
    """A call that records when it is executed."""
    return lambda store: order.append(number)


def return_call(result: int) -> Callable[[JournalStore], int]:
    """A call that returns `result`."""
    return lambda store: result


def put_call(key: str) -> Callable[[JournalStore], None]:
    """A call that sets a value."""
    return lambda store: store.put(**{key: 1})


def record_call(batch: Batch) -> Callable[[JournalStore], None]:
    """A call that records the success of a batch."""
    return lambda store: store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY)


def failing_call(_: JournalStore) -> None:
    """A call that fails."""
    raise InternalError("broken on purpose")


async def test_submit_during_commit_shares_next_transaction(path: Path) -> None:
    """Calls made during a commit are executed in order in one transaction."""
    order: list[int] = []
    with open_journal(path) as journal:
        with blocked_commit(journal) as statements:
            futures = [journal.submit(append_call(order, n)) for n in range(200)]
        await asyncio.gather(*futures)
        assert order == list(range(200))
        assert statements.count("BEGIN IMMEDIATE") == 1
        assert statements.count("COMMIT") == 1


async def test_submit_in_shared_transaction_returns_own_result(path: Path) -> None:
    """Each future gets the result of its call."""
    with open_journal(path) as journal:
        with blocked_commit(journal):
            futures = [journal.submit(return_call(n * n)) for n in range(20)]
        assert await asyncio.gather(*futures) == [n * n for n in range(20)]


async def test_submit_when_idle_commits_at_once(path: Path) -> None:
    """Consecutive calls have their own transactions."""
    with open_journal(path) as journal:
        statements: list[str] = []
        await journal.submit(lambda store: None)
        journal._connection.set_trace_callback(statements.append)
        for _ in range(5):
            await journal.submit(lambda store: None)
        assert statements.count("COMMIT") == 5


async def test_max_delay_gathers_calls_until_the_next_submit(path: Path) -> None:
    """Outcomes wait for the next claim, which is not delayed."""
    journal, committed = JournalWriter(path, max_delay=60.0), list[str]()
    try:
        journal.submit_nowait(lambda store: store.put(first=1), lambda error: committed.append("outcome"))
        await asyncio.sleep(0.02)
        assert not committed
        await journal.submit(lambda store: None)
        assert committed == ["outcome"]
    finally:
        journal.close()


async def test_submit_claim_is_committed_before_future_is_done(path: Path) -> None:
    """Another process can read a claim when its future is done, and not earlier."""
    query = "SELECT count(*) FROM thing WHERE state = 1"
    with open_journal(path) as journal:
        during: list[int] = []

        def claim(store: JournalStore) -> None:
            claim_all(store, first_core(store))
            during.append(query_file(path, query)[0][0])

        future = journal.submit(claim)
        committed_count: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: committed_count.set_result(query_file(path, query)[0][0]))
        assert await committed_count == 150
        assert during == [0]


async def test_writer_syncs_each_commit(path: Path) -> None:
    """The journal is in WAL mode with synchronous = FULL."""
    with open_journal(path) as journal:
        synchronous, mode = await journal.submit(
            lambda store: [
                store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
            ]
        )
    assert (synchronous, mode) == (2, "wal")


async def test_close_executes_queued_calls(path: Path) -> None:
    """Calls made before the close are in the file, and their futures are done."""
    journal = JournalWriter(path)
    with blocked_commit(journal):
        futures = [journal.submit(put_call(f"key-{n}")) for n in range(50)]
    journal.close()
    await asyncio.gather(*futures)
    with JournalReader(path) as reader:
        assert {f"key-{n}" for n in range(50)} <= reader.meta().keys()


async def test_close_leaves_one_file(path: Path) -> None:
    """A closed journal is one self-contained file without a lock."""
    with open_journal(path) as journal:
        await journal.submit(lambda store: store.put(state=RunState.RUNNING))
        assert folder_entries(path) == ["j", "j-shm", "j-wal", "j.lock"]
    assert folder_entries(path) == ["j"]
    journal.close()
    shutil.move(path, path.with_name("moved"))
    with JournalReader(path.with_name("moved")) as reader:
        assert reader.state() is RunState.INTERRUPTED  # recorded as running, but no process runs it


async def test_close_in_thread_leaves_one_file(path: Path) -> None:
    """The event loop runs meanwhile, and a call of `close` after it, as in a cancelled run, does nothing."""
    journal = JournalWriter(path)
    outcome = journal.submit(lambda store: store.put(key="value"))
    closing = asyncio.ensure_future(journal.close_in_thread())
    await asyncio.sleep(0)
    journal.close()
    await closing
    assert outcome.done()
    assert folder_entries(path) == ["j"]
    with JournalReader(path) as reader:
        assert reader.meta()["key"] == "value"


async def test_submit_after_close_fails(path: Path) -> None:
    """A closed journal rejects every call."""
    journal = JournalWriter(path)
    journal.close()
    for retry in (False, True):
        with pytest.raises(JournalWriteError, match=r"j is closed$"):
            await journal.submit(lambda store: None, retry_individually=retry)


async def test_submit_in_failed_transaction_fails(path: Path) -> None:
    """A failure rolls back its transaction and fails every call in it and after it."""
    with open_journal(path) as journal:
        with blocked_commit(journal):
            futures = [journal.submit(lambda store: store.put(before="1")), journal.submit(failing_call)]
            futures += [journal.submit(lambda store: store.put(after="1"))]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [str(result) for result in results] == ["broken on purpose"] * 3
        with pytest.raises(InternalError, match="broken on purpose"):
            await journal.submit(lambda store: store.put(later="1"))
    with JournalReader(path) as reader:
        assert not {"before", "after", "later"} & reader.meta().keys()


async def test_submit_unexpected_error_is_wrapped(path: Path) -> None:
    """Any exception of a call becomes an error that names the journal."""
    with open_journal(path) as journal, pytest.raises(JournalWriteError, match=r"/j: ZeroDivisionError"):
        await journal.submit(lambda store: 1 // 0)


async def test_submit_retry_individually_survives_failed_claim(path: Path) -> None:
    """Outcomes in a failed transaction are recorded in their own transactions."""
    with open_journal(path) as journal:
        first, second = await journal.submit(lambda store: claim_all(store, first_core(store)))
        with blocked_commit(journal):
            failing = journal.submit(failing_call)
            retried = [journal.submit(record_call(batch), retry_individually=True) for batch in (first, second)]
        results = await asyncio.gather(failing, *retried, return_exceptions=True)
        assert [type(result) for result in results] == [InternalError, type(None), type(None)]
    with JournalReader(path) as reader:
        assert reader.counts().disassociated == 150


async def test_submit_retry_individually_stops_at_second_failure(path: Path) -> None:
    """After a second failure an interruption is not recorded: it would release the batch."""

    def record_and_fail(store: JournalStore) -> None:
        store.record_batch(first, ALL_DISASSOCIATED, RECORDED_REPLY)
        raise InternalError("failed on purpose")

    with open_journal(path) as journal:
        first, _ = await journal.submit(lambda store: claim_all(store, first_core(store)))
        with blocked_commit(journal):
            outcome = journal.submit(record_and_fail, retry_individually=True)
            interruption = journal.submit(lambda store: store.mark_interrupted([]), retry_individually=True)
        results = await asyncio.gather(outcome, interruption, return_exceptions=True)
        assert [type(result) for result in results] == [InternalError, InternalError]
    with open_journal(path) as journal:
        assert journal.recovered == 150
    assert query_file(path, "SELECT count(*), sum(ambiguous) FROM thing WHERE core = 1 AND state = 0") == [(150, 150)]


async def test_submit_cancelled_future_still_executes(path: Path) -> None:
    """A call is executed although its future is cancelled."""
    with open_journal(path) as journal:
        with blocked_commit(journal):
            cancelled = journal.submit(lambda store: store.put(value="1"))
            cancelled.cancel()
            other = journal.submit(lambda store: store.get("value"))
        assert await other == "1"
        assert cancelled.cancelled()


@pytest.mark.parametrize("threaded", [True, False])
async def test_record_batch_not_claimed_fails(path: Path, threaded: bool) -> None:
    """A result of a batch that is no longer claimed is an internal error and changes nothing."""
    with open_journal(path, threaded=threaded) as journal:
        first, second = await journal.submit(lambda store: claim_all(store, first_core(store)))
        await journal.submit(lambda store: store.record_batch(first, ALL_DISASSOCIATED, RECORDED_REPLY))
        with pytest.raises(InternalError, match=r"core core-000: request 1 is not claimed"):
            await journal.submit(lambda store: store.record_batch(first, all_failed(first), RECORDED_REPLY))
    with JournalReader(path) as reader:
        assert (reader.counts().disassociated, reader.counts().failed) == (100, 0)
        assert second.request == 2


async def test_claim_more_than_pending_fails(path: Path) -> None:
    """A claim of more things than are pending is an internal error and changes nothing."""
    with open_journal(path) as journal:
        queue = CoreQueue(1, "core-000", 1, 150, 151)
        with pytest.raises(InternalError, match=r"core-000: expected 51 pending things in 1\.\.150, found 50"):
            await journal.submit(lambda store: claim_all(store, queue))
    assert query_file(path, "SELECT count(*) FROM thing WHERE state <> 0") == [(0,)]


def test_submit_unthreaded_commits_before_return(path: Path) -> None:
    """With `threaded=False` a call is committed before it returns."""

    async def scenario() -> None:
        with open_journal(path, threaded=False) as journal:
            before = asyncio.get_running_loop().time()
            future = journal.submit(lambda store: len(claim_all(store, first_core(store))))
            assert future.done()
            assert query_file(path, "SELECT count(*) FROM thing WHERE state = 1") == [(150,)]
            assert await future == 2
            failing = journal.submit(failing_call)
            with pytest.raises(InternalError):
                await failing
            assert asyncio.get_running_loop().time() == before

    run_virtual(scenario())


async def test_reader_during_run_reads_committed_state(path: Path) -> None:
    """A reader sees what is committed and does not block the writer."""
    with open_journal(path) as journal, JournalReader(path) as reader:
        await journal.submit(lambda store: store.put(state=RunState.RUNNING))
        assert reader.state() is RunState.RUNNING
        rows = reader.outcomes()
        next(rows)  # keeps a read transaction open
        batches = await journal.submit(lambda store: claim_all(store, first_core(store)))
        await journal.submit(lambda store: store.record_batch(batches[0], ALL_DISASSOCIATED, RECORDED_REPLY))
        await journal.submit(lambda store: store.record_batch(batches[1], all_failed(batches[1]), RECORDED_REPLY))
        assert {row.state for row in rows} == {ThingState.PENDING}  # as of the start of the read
        summary = reader.summary()
        assert (summary.disassociated, summary.failed, summary.pending, summary.sent) == (100, 50, 300, 2)
        assert summary.failures == {"AccessDenied": 50}
        assert [row.aws_request_id for row in reader.outcomes(ThingState.FAILED)] == ["aws-1"] * 50


async def test_close_with_reader_returns_in_time(path: Path) -> None:
    """A reader delays the close only briefly and can continue."""
    with JournalReader(path) as reader:
        journal = JournalWriter(path)
        await journal.submit(lambda store: store.put(state=RunState.COMPLETE))
        rows = reader.outcomes()
        next(rows)
        loop = asyncio.get_running_loop()
        before = loop.time()
        journal.close()
        assert loop.time() - before < 2
        assert len(list(rows)) == 449
    with JournalReader(path) as reader:
        assert reader.state() is RunState.COMPLETE


def test_reader_write_fails(path: Path) -> None:
    """The connection of a reader rejects writes."""
    with JournalReader(path) as reader, pytest.raises(JournalError, match="not writable"):
        list(reader._rows("DELETE FROM name_block"))


@pytest.mark.parametrize("error", [RuntimeError("no thread"), KeyboardInterrupt()])
def test_open_failure_releases_lock(path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """After any error the journal can be opened again."""

    def fail(_: JournalStore) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(JournalStore, "recover", fail)
        with pytest.raises(type(error)):
            JournalWriter(path)
    with open_journal(path) as journal:
        assert journal.recovered == 0


def test_close_waits_for_brief_reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short read at the end of a run does not leave a WAL file."""
    reader = JournalReader(path)
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            reader.close()

    with open_journal(path, threaded=False):
        assert reader.counts().pending == 450
        monkeypatch.setattr("asyncgg.storage.writer.time.sleep", sleep)
    assert len(sleeps) == 3
    assert folder_entries(path) == ["j"]


def test_close_with_remaining_reader_checkpoints(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close does not wait for a long read, but the file has every change."""
    sleeps: list[float] = []
    monkeypatch.setattr("asyncgg.storage.writer.time.sleep", sleeps.append)
    with JournalReader(path) as reader:
        with open_journal(path) as journal:

            async def put() -> None:
                await journal.submit(lambda store: store.put(state=RunState.ABORTED))

            asyncio.run(put())
            assert reader.state() is RunState.ABORTED
        assert 0 < sum(sleeps) <= 1.0
        shutil.copy(path, path.with_name("copy"))
    with JournalReader(path.with_name("copy")) as copy:
        assert copy.state() is RunState.ABORTED
