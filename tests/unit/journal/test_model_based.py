"""The journal against a plain model, through crashes, resumes and retries."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncgg.aggregator import Batch, BatchResult, ThingResult
from asyncgg.batching import Claim
from asyncgg.classify import ReplyVerdict
from asyncgg.journal import JournalReader, JournalStore, JournalWriter, RecordedReply
from asyncgg.models import ThingState
from tests.support.journal import create_journal, memory_folder

PENDING, CLAIMED, DONE, FAILED, ALREADY = ThingState
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ThingModel:
    """The state of one thing."""

    state: ThingState = PENDING
    attempts: int = 0
    ambiguous: bool = False
    in_pass: int = 1
    """The pass of the thing."""
    code: str | None = None
    message: str | None = None
    request: int | None = None


class JournalMachine(RuleBasedStateMachine):
    """Claims, replies, released claims, failed cores, crashes, resumes and retries in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(dir=memory_folder()))
        self.loop = asyncio.new_event_loop()
        self.copies = 0
        self.last_pass = 1
        self.min_pass = 1
        self.model: dict[int, ThingModel] = {}
        self.requests: dict[int, str | None] = {}
        self.in_flight: list[Batch] = []
        self.done: set[int] = set()

    @initialize(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3))
    def start(self, sizes: list[int]) -> None:
        """A journal of a few small cores."""
        path = self.folder / "0"
        create_journal(
            path, [(f"core-{core}", f"thing-{thing:02}") for core, size in enumerate(sizes) for thing in range(size)]
        )
        self.model = {number: ThingModel() for number in range(1, sum(sizes) + 1)}
        self.open(path)

    def open(self, path: Path) -> None:
        """Open the journal at `path` for the following steps."""
        self.path = path
        self.journal = JournalWriter(path, threaded=False)
        self.journal._connection.execute(
            "PRAGMA synchronous = OFF"
        )  # crashes here are of the process, not of the machine

    def run_transaction(self, work: Callable[[JournalStore], T]) -> T:
        """Run `work` in its own transaction."""

        async def await_call() -> T:
            return await self.journal.submit(work)

        return self.loop.run_until_complete(await_call())

    def update_thing(self, number: int, **values: Any) -> None:
        """Change one thing of the model."""
        self.model[number] = replace(self.model[number], **values)

    def is_sendable(self, number: int) -> bool:
        """Whether this start may send the thing."""
        thing = self.model[number]
        return thing.state is PENDING and thing.in_pass >= self.min_pass

    @rule(pick=st.integers(0, 9), limit=st.integers(1, 6))
    def claim(self, pick: int, limit: int) -> None:
        """A claim takes the first pending things of its core, and a new request id."""
        queues = self.run_transaction(lambda store: list(store.pending_cores()))
        assert sum(queue.unsent for queue in queues) == sum(map(self.is_sendable, self.model))
        if not queues:
            return
        queue = queues[pick % len(queues)]
        ids = [number for number in range(queue.first, queue.last + 1) if self.is_sendable(number)]
        assert len(ids) == queue.unsent
        ids = ids[:limit]
        batch = self.run_transaction(lambda store: store.claim(Claim(queue, queue.first, queue.last, len(ids)), 1000.0))
        assert batch.core == queue.name
        assert list(batch.ids) == ids
        assert batch.attempts == tuple(self.model[number].attempts for number in ids)
        assert batch.ambiguous == tuple(self.model[number].ambiguous for number in ids)
        assert batch.request not in self.requests
        self.requests[batch.request] = None
        for number in ids:
            self.update_thing(number, state=CLAIMED, request=batch.request)
        self.in_flight.append(batch)

    @precondition(lambda self: self.in_flight)
    @rule(
        pick=st.integers(0, 9),
        default=st.sampled_from([PENDING, DONE, FAILED, ALREADY]),
        overrides=st.dictionaries(st.integers(0, 5), st.sampled_from([PENDING, DONE, FAILED, ALREADY]), max_size=3),
        counted=st.booleans(),
        ambiguous=st.booleans(),
    )
    def record_batch(
        self, pick: int, default: ThingState, overrides: dict[int, ThingState], counted: bool, ambiguous: bool
    ) -> None:
        """Each thing gets the state of the batch, or its override with code and message."""
        batch = self.in_flight.pop(pick % len(self.in_flight))
        results = tuple(
            ThingResult(index, state, f"code-{state}", "message")
            for index, state in overrides.items()
            if index < len(batch.ids)
        )
        result = BatchResult(ReplyVerdict.LOST, default, counted, ambiguous, results)
        self.run_transaction(
            lambda store: store.record_batch(batch, result, RecordedReply(1.0, "lost", None, "timeout", "aws"))
        )
        self.requests[batch.request] = "lost"
        states = dict(enumerate([default] * len(batch.ids))) | overrides
        for index, number in enumerate(batch.ids):
            thing, state = self.model[number], states[index]
            is_final = index in overrides and state is not PENDING
            self.update_thing(
                number,
                state=state,
                attempts=thing.attempts + counted,
                ambiguous=thing.ambiguous or ambiguous,
                code=f"code-{state}" if is_final else None,
                message="message" if is_final else None,
            )

    @precondition(lambda self: self.in_flight)
    @rule(pick=st.integers(0, 9))
    def release(self, pick: int) -> None:
        """A released claim leaves no trace."""
        batch = self.in_flight.pop(pick % len(self.in_flight))
        self.run_transaction(lambda store: store.release(batch))
        del self.requests[batch.request]
        for number in batch.ids:
            self.update_thing(number, state=PENDING, request=None)

    @rule(sent=st.integers(0, 9))
    def mark_interrupted(self, sent: int) -> None:
        """An interruption makes batches in flight ambiguous and releases the other claims."""
        batches, unsent = self.in_flight[:sent], self.in_flight[sent:]
        self.in_flight = []
        self.run_transaction(lambda store: store.mark_interrupted(batches))
        for batch in batches:
            self.requests[batch.request] = "unknown"
            for number in batch.ids:
                self.update_thing(number, state=PENDING, ambiguous=True)
        for batch in unsent:
            del self.requests[batch.request]
            for number in batch.ids:
                self.update_thing(number, state=PENDING, request=None)

    @rule(pick=st.integers(0, 9), limit=st.integers(1, 5), state=st.sampled_from([FAILED, ALREADY]))
    def apply_outcome_to_pending(self, pick: int, limit: int, state: ThingState) -> None:
        """A missing core decides its pending things only."""
        queues = self.run_transaction(lambda store: list(store.pending_cores()))
        if not queues:
            return
        queue = queues[pick % len(queues)]
        ids = [number for number in range(queue.first, queue.last + 1) if self.is_sendable(number)][:limit]
        request = max(self.requests, default=None)
        if request is None:
            return
        outcomes = self.run_transaction(
            lambda store: store.apply_outcome_to_pending(queue, state, "Missing", "no core", request, limit)
        )
        assert [outcome.attempts for outcome in outcomes] == [self.model[number].attempts for number in ids]
        for number in ids:
            self.update_thing(number, state=state, code="Missing", message="no core", request=request)

    @rule()
    def resume(self) -> None:
        """A resume includes everything pending."""
        self.close_and_open()
        self.run_transaction(lambda store: store.begin_resume())
        self.min_pass = 1

    @rule()
    def retry(self) -> None:
        """A retry takes what failed and what an earlier retry left, but no unsent things."""
        self.close_and_open()
        number = self.last_pass + 1
        retried = [n for n, thing in self.model.items() if thing.state is FAILED or self.is_left_by_retry(thing)]
        assert self.run_transaction(lambda store: store.begin_retry()) == len(retried)
        for n in retried:
            self.update_thing(n, state=PENDING, attempts=0, in_pass=number, code=None, message=None)
        self.min_pass = number
        if retried:
            self.last_pass = number

    def is_left_by_retry(self, thing: ThingModel) -> bool:
        """Whether an earlier retry left the thing pending."""
        return thing.state is PENDING and thing.in_pass > 1

    @rule(open_transaction=st.booleans())
    def crash(self, open_transaction: bool) -> None:
        """After a crash only committed changes are there, and claims are ambiguous."""
        if open_transaction:
            self.journal._connection.execute("BEGIN IMMEDIATE")
            self.journal._connection.execute(
                "INSERT OR REPLACE INTO override SELECT id, 2, 1, 0, 1, NULL, 'invented', 'invented' FROM name"
            )
        self.copies += 1
        after = self.folder / str(self.copies)
        for suffix in ("", "-wal"):
            before = self.path.with_name(self.path.name + suffix)
            if before.exists():
                shutil.copy(before, after.with_name(after.name + suffix))
        if open_transaction:
            self.journal._connection.execute("ROLLBACK")
        self.journal.close()
        self.recover(after)

    def close_and_open(self) -> None:
        """Another process opens the journal."""
        self.journal.close()
        self.recover(self.path)

    def recover(self, path: Path) -> None:
        """Open the journal: claims become ambiguous."""
        self.open(path)
        assert self.journal.recovered == sum(len(batch.ids) for batch in self.in_flight)
        for batch in self.in_flight:
            self.requests[batch.request] = "unknown"
            for number in batch.ids:
                self.update_thing(number, state=PENDING, ambiguous=True)
        self.in_flight = []

    @invariant()
    def file_equals_model(self) -> None:
        """The file equals the model in every thing and request, and a success stays one."""
        if not self.model:
            return
        with JournalReader(self.path) as reader:
            rows = reader._connection.execute(
                "SELECT id, state, attempts, ambiguous, pass, code, message, request FROM thing"
            ).fetchall()
            written = {row[0]: ThingModel(ThingState(row[1]), row[2], bool(row[3]), *row[4:]) for row in rows}
            assert written == self.model
            assert dict(reader._connection.execute("SELECT id, verdict FROM request")) == self.requests
            states = [thing.state for thing in self.model.values()]
            counts = reader.counts()
            assert (counts.disassociated, counts.already) == (states.count(DONE), states.count(ALREADY))
            assert (counts.failed, counts.total) == (states.count(FAILED), len(states))
            assert counts.pending == states.count(PENDING) + states.count(CLAIMED)
            assert counts.sent == len(self.requests)
        now_done = {number for number, thing in self.model.items() if thing.state.is_done}
        assert now_done >= self.done
        self.done = now_done

    def teardown(self) -> None:
        """Remove the files."""
        if hasattr(self, "journal"):
            self.journal.close()
        self.loop.close()
        shutil.rmtree(self.folder)


JournalMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestJournalModel = JournalMachine.TestCase
