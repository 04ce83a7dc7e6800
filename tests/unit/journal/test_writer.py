"""Rule: what the one writer promises: order, shared transactions, durability before an answer, one error for all."""

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
    """A journal that is closed whatever the test does."""
    journal = JournalWriter(path, threaded=threaded)
    try:
        yield journal
    finally:
        journal.close()


def first_core(store: JournalStore) -> CoreQueue:
    """The first core with work."""
    return next(store.pending_cores())


def append_call(order: list[int], number: int) -> Callable[[JournalStore], None]:
    """A call that says when it is carried out."""
    return lambda store: order.append(number)


def return_call(result: int) -> Callable[[JournalStore], int]:
    """A call with that result."""
    return lambda store: result


def put_call(key: str) -> Callable[[JournalStore], None]:
    """A call that writes a value."""
    return lambda store: store.put(**{key: 1})


def record_call(batch: Batch) -> Callable[[JournalStore], None]:
    """A call that writes a batch's success."""
    return lambda store: store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY)


def failing_call(_: JournalStore) -> None:
    """A call that fails."""
    raise InternalError("broken on purpose")


async def test_calls_that_wait_share_a_transaction(path: Path) -> None:
    """Two hundred calls made while a transaction is going on are carried out in one, in the order they were made."""
    order: list[int] = []
    with open_journal(path) as journal:
        with blocked_commit(journal) as statements:
            futures = [journal.submit(append_call(order, n)) for n in range(200)]
        await asyncio.gather(*futures)
        assert order == list(range(200))
        assert statements.count("BEGIN IMMEDIATE") == 1
        assert statements.count("COMMIT") == 1


async def test_each_caller_gets_its_own_result(path: Path) -> None:
    """Results of a shared transaction go to those who asked."""
    with open_journal(path) as journal:
        with blocked_commit(journal):
            futures = [journal.submit(return_call(n * n)) for n in range(20)]
        assert await asyncio.gather(*futures) == [n * n for n in range(20)]


async def test_an_idle_writer_does_not_wait_for_more(path: Path) -> None:
    """Calls made one after the other are transactions of their own."""
    with open_journal(path) as journal:
        statements: list[str] = []
        await journal.submit(lambda store: None)
        journal._connection.set_trace_callback(statements.append)
        for _ in range(5):
            await journal.submit(lambda store: None)
        assert statements.count("COMMIT") == 5


async def test_a_claim_is_committed_before_its_caller_knows(path: Path) -> None:
    """When a claim's future is done another process already reads it; while it is being made nobody does."""
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


async def test_durability_is_asked_of_sqlite(path: Path) -> None:
    """A run's journal is in WAL mode and syncs each commit, or a power loss would forget what was claimed."""
    with open_journal(path) as journal:
        synchronous, mode = await journal.submit(
            lambda store: [
                store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
            ]
        )
    assert (synchronous, mode) == (2, "wal")


async def test_close_carries_out_what_was_asked(path: Path) -> None:
    """Calls made before the close are in the file after it, and their futures are done with their results."""
    journal = JournalWriter(path)
    with blocked_commit(journal):
        futures = [journal.submit(put_call(f"key-{n}")) for n in range(50)]
    journal.close()
    await asyncio.gather(*futures)
    with JournalReader(path) as reader:
        assert {f"key-{n}" for n in range(50)} <= reader.meta().keys()


async def test_close_leaves_one_file(path: Path) -> None:
    """After the close the journal is one self-contained file, without a lock, and to close it again does nothing."""
    with open_journal(path) as journal:
        await journal.submit(lambda store: store.put(state=RunState.RUNNING))
        assert folder_entries(path) == ["j", "j-shm", "j-wal", "j.lock"]
    assert folder_entries(path) == ["j"]
    journal.close()
    shutil.move(path, path.with_name("moved"))
    with JournalReader(path.with_name("moved")) as reader:
        assert reader.state() is RunState.INTERRUPTED  # it says it is running, and nobody runs it


async def test_calls_after_the_close_fail(path: Path) -> None:
    """A closed journal refuses calls, those with `keep` too, and does not hang."""
    journal = JournalWriter(path)
    journal.close()
    for keep in (False, True):
        with pytest.raises(JournalWriteError, match=r"j is closed$"):
            await journal.submit(lambda store: None, retry_alone=keep)


async def test_a_failed_transaction_fails_all_in_it_and_later_calls(path: Path) -> None:
    """One failure undoes its whole transaction, is told to everyone in it, and nothing is written any more."""
    with open_journal(path) as journal:
        with blocked_commit(journal):
            futures = [journal.submit(lambda store: store.put(before="1")), journal.submit(failing_call)]
            futures += [journal.submit(lambda store: store.put(behind="1"))]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [str(result) for result in results] == ["broken on purpose"] * 3
        with pytest.raises(InternalError, match="broken on purpose"):
            await journal.submit(lambda store: store.put(later="1"))
    with JournalReader(path) as reader:
        assert not {"before", "behind", "later"} & reader.meta().keys()


async def test_an_error_that_is_not_ours_is_told_as_one(path: Path) -> None:
    """Whatever a call raises, the caller gets an error of asyncgg that names the journal."""
    with open_journal(path) as journal, pytest.raises(JournalWriteError, match=r"/j: ZeroDivisionError"):
        await journal.submit(lambda store: 1 // 0)


async def test_outcomes_survive_a_claim_that_fails(path: Path) -> None:
    """Calls with `keep` in a failed transaction are carried out on their own, so a known outcome is written."""
    with open_journal(path) as journal:
        first, second = await journal.submit(lambda store: claim_all(store, first_core(store)))
        with blocked_commit(journal):
            failing = journal.submit(failing_call)
            retried = [journal.submit(record_call(batch), retry_alone=True) for batch in (first, second)]
        results = await asyncio.gather(failing, *retried, return_exceptions=True)
        assert [type(result) for result in results] == [InternalError, type(None), type(None)]
    with JournalReader(path) as reader:
        assert reader.counts().disassociated == 150


async def test_nothing_is_kept_after_an_outcome_that_cannot_be(path: Path) -> None:
    """When a kept call fails again, those behind it are not tried: `abandon` must not take its batch for unsent."""

    def settle_in_vain(store: JournalStore) -> None:
        store.record_batch(first, ALL_DISASSOCIATED, RECORDED_REPLY)
        raise InternalError("the disk is full, say")

    with open_journal(path) as journal:
        first, _ = await journal.submit(lambda store: claim_all(store, first_core(store)))
        with blocked_commit(journal):
            outcome = journal.submit(settle_in_vain, retry_alone=True)
            cut_off = journal.submit(lambda store: store.mark_interrupted([]), retry_alone=True)
        results = await asyncio.gather(outcome, cut_off, return_exceptions=True)
        assert [type(result) for result in results] == [InternalError, InternalError]
    with open_journal(path) as journal:
        assert journal.recovered == 150
    assert query_file(path, "SELECT count(*), sum(ambiguous) FROM thing WHERE core = 1 AND state = 0") == [(150, 150)]


async def test_a_cancelled_caller_changes_nothing(path: Path) -> None:
    """A call whose caller gave up is carried out all the same, and the others get their results."""
    with open_journal(path) as journal:
        with blocked_commit(journal):
            cancelled = journal.submit(lambda store: store.put(gone="1"))
            cancelled.cancel()
            other = journal.submit(lambda store: store.get("gone"))
        assert await other == "1"
        assert cancelled.cancelled()


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_second_run_settles_no_first_one(path: Path, threaded: bool) -> None:
    """An answer to a batch that is no longer claimed is a fault of ours, and changes no outcome."""
    with open_journal(path, threaded=threaded) as journal:
        first, second = await journal.submit(lambda store: claim_all(store, first_core(store)))
        await journal.submit(lambda store: store.record_batch(first, ALL_DISASSOCIATED, RECORDED_REPLY))
        with pytest.raises(InternalError, match=r"core core-000: request 1 is not claimed"):
            await journal.submit(lambda store: store.record_batch(first, all_failed(first), RECORDED_REPLY))
    with JournalReader(path) as reader:
        assert (reader.counts().disassociated, reader.counts().failed) == (100, 0)
        assert second.request == 2


async def test_a_claim_for_things_that_are_not_there(path: Path) -> None:
    """A schedule that promises more than the journal holds is found out before anything is sent."""
    with open_journal(path) as journal:
        work = CoreQueue(1, "core-000", 1, 150, 151)
        with pytest.raises(InternalError, match=r"core-000: expected 51 pending things in 1\.\.150, found 50"):
            await journal.submit(lambda store: claim_all(store, work))
    assert query_file(path, "SELECT count(*) FROM thing WHERE state <> 0") == [(0,)]


def test_on_the_loop_without_a_thread(path: Path) -> None:
    """With `threaded=False` a call is committed before it returns, so virtual time cannot run ahead of it."""

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


async def test_readers_work_during_a_run(path: Path) -> None:
    """Figures and outcomes can be read at any time, show what is committed, and keep the writer waiting for nothing."""
    with open_journal(path) as journal, JournalReader(path) as reader:
        await journal.submit(lambda store: store.put(state=RunState.RUNNING))
        assert reader.state() is RunState.RUNNING
        rows = reader.outcomes()
        next(rows)  # a read transaction stands open
        batches = await journal.submit(lambda store: claim_all(store, first_core(store)))
        await journal.submit(lambda store: store.record_batch(batches[0], ALL_DISASSOCIATED, RECORDED_REPLY))
        await journal.submit(lambda store: store.record_batch(batches[1], all_failed(batches[1]), RECORDED_REPLY))
        assert {row.state for row in rows} == {ThingState.PENDING}  # as it was when the reading began
        summary = reader.summary()
        assert (summary.disassociated, summary.failed, summary.pending, summary.sent) == (100, 50, 300, 2)
        assert summary.failures == {"AccessDenied": 50}
        assert [row.aws_request_id for row in reader.outcomes(ThingState.FAILED)] == ["aws-1"] * 50


async def test_a_reader_does_not_hold_up_the_close(path: Path) -> None:
    """A run ends at once while somebody reads; the reader goes on, and all is there for the next."""
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


def test_a_journal_cannot_be_written_through_a_reader(path: Path) -> None:
    """A reader's connection refuses to write."""
    with JournalReader(path) as reader, pytest.raises(JournalError, match="not writable"):
        list(reader._rows("DELETE FROM name_block"))


@pytest.mark.parametrize("fault", [RuntimeError("no thread"), KeyboardInterrupt()])
def test_a_failed_opening_lets_go_of_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """Whatever goes wrong at opening, the next attempt is not refused because of it."""

    def fail(_: JournalStore) -> int:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(JournalStore, "recover", fail)
        with pytest.raises(type(fault)):
            JournalWriter(path)
    with open_journal(path) as journal:
        assert journal.recovered == 0


def test_a_brief_reader_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status in the moment a run ends does not keep it from leaving one self-contained file."""
    reader = JournalReader(path)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            reader.close()

    with open_journal(path, threaded=False):
        assert reader.counts().pending == 450
        monkeypatch.setattr("asyncgg.journal.writer.time.sleep", nap)
    assert len(naps) == 3
    assert folder_entries(path) == ["j"]


def test_a_reader_that_stays_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long report does not hold up the end of a run; what it had written is in the journal file itself by then."""
    naps: list[float] = []
    monkeypatch.setattr("asyncgg.journal.writer.time.sleep", naps.append)
    with JournalReader(path) as reader:
        with open_journal(path) as journal:

            async def put() -> None:
                await journal.submit(lambda store: store.put(state=RunState.ABORTED))

            asyncio.run(put())
            assert reader.state() is RunState.ABORTED
        assert 0 < sum(naps) <= 1.0
        shutil.copy(path, path.with_name("copy"))
    with JournalReader(path.with_name("copy")) as copy:
        assert copy.state() is RunState.ABORTED
