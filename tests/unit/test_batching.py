"""The scheduler, compared with a model that knows each thing by its id."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncgg.batching import BatchScheduler, Claim, CoreQueue, requests_needed
from asyncgg.models import MAX_BATCH

FAR_FUTURE_SECONDS = 1_000_000.0


def make_core(number: int, things: int, first: int = 1) -> CoreQueue:
    """A core with `things` things from id `first`."""
    return CoreQueue(number, f"core-{number}", first, first + things - 1, things)


@dataclass
class CoreModel:
    """Where each thing of one core stands, by what the schedule's rules say in words."""

    queue: CoreQueue
    unsent: list[int]
    requeued: list[int] = field(default_factory=list)
    parts: list[list[int]] = field(default_factory=list)
    in_flight: list[tuple[Claim, list[int]]] = field(default_factory=list)
    retry_at: float = 0.0
    abandoned: bool = False
    skipped: int = 0
    """Claims of other cores while this one could have been served."""

    @property
    def pending(self) -> set[int]:
        """Things without an outcome that are not in flight."""
        return {*self.unsent, *self.requeued, *(number for part in self.parts for number in part)}

    @property
    def requests(self) -> int:
        """Requests still to be claimed."""
        return requests_needed(len(self.unsent)) + requests_needed(len(self.requeued)) + len(self.parts)

    def start_wave(self, now: float) -> None:
        """Start the next wave when the current one has ended."""
        if self.requeued and not (self.unsent or self.parts or self.in_flight) and self.retry_at <= now:
            self.unsent, self.requeued, self.retry_at = sorted(self.requeued), [], 0.0

    def expected_things(self) -> list[int]:
        """The things that the next request must contain."""
        return self.parts[0] if self.parts else self.unsent[:MAX_BATCH]


class SchedulerMachine(RuleBasedStateMachine):
    """Claims, answers, splits, waits and given-up cores in any order."""

    @initialize(
        per_core=st.integers(1, 4),
        sizes=st.lists(st.integers(1, 350) | st.integers(1, 5) | st.sampled_from([99, 100, 101, 200]), max_size=5),
    )
    def start(self, per_core: int, sizes: list[int]) -> None:
        """Cores of random sizes."""
        self.now = 1000.0
        self.per_core = per_core
        self.scheduler = BatchScheduler(per_core)
        self.cores: dict[int, CoreModel] = {}
        first = 1
        for number, size in enumerate(sizes):
            queue = make_core(number, size, first)
            self.cores[number] = CoreModel(queue, list(range(first, first + size)))
            self.scheduler.add(queue)
            first += size

    def is_ready(self, model: CoreModel) -> bool:
        """Whether a request of this core can be sent now."""
        return not model.abandoned and bool(model.unsent or model.parts) and len(model.in_flight) < self.per_core

    @rule()
    def claim(self) -> None:
        """A claim is for exactly the expected things, and no core waits too long."""
        for model in self.cores.values():
            model.start_wave(self.now)
        ready = [model for model in self.cores.values() if self.is_ready(model)]
        claim = self.scheduler.next_claim(self.now)
        assert (claim is None) == (not ready)
        if claim is None:
            return
        model = self.cores[claim.queue.id]
        assert model in ready
        expected = model.expected_things()
        claimed_ids = sorted(number for number in model.pending if claim.low <= number <= claim.high)[: claim.limit]
        assert claimed_ids == expected
        assert 1 <= len(claimed_ids) == claim.limit <= MAX_BATCH
        self.scheduler.advance_cursor(claim, claimed_ids[-1])
        if model.parts:
            model.parts.pop(0)
        else:
            model.unsent = model.unsent[len(expected) :]
        model.in_flight.append((claim, expected))
        for other in ready:
            other.skipped = 0 if other is model else other.skipped + 1
            assert other.skipped < len(self.cores)

    def in_flight(self) -> list[tuple[CoreModel, int]]:
        """Every request in flight."""
        return [(model, index) for model in self.cores.values() for index in range(len(model.in_flight))]

    def take_in_flight(self, pick: int) -> tuple[CoreModel, Claim, list[int]]:
        """Remove one request from those in flight."""
        requests = self.in_flight()
        model, index = requests[pick % len(requests)]
        claim, ids = model.in_flight.pop(index)
        return model, claim, ids

    @precondition(lambda self: self.in_flight())
    @rule(
        pick=st.integers(0, 50),
        keep=st.sampled_from(["none", "all", "some"]),
        every=st.integers(2, 30),
        delay=st.sampled_from([0.0, 0.0, 1.0, 5.0]),
    )
    def answer(self, pick: int, keep: str, every: int, delay: float) -> None:
        """None, all or some of the things of a request are requeued."""
        model, claim, ids = self.take_in_flight(pick)
        requeued = {"none": [], "all": ids, "some": ids[::every]}[keep]
        self.scheduler.complete(claim.queue, requeued=len(requeued), retry_at=self.now + delay)
        if requeued and not model.abandoned:
            model.requeued += requeued
            model.retry_at = max(model.retry_at, self.now + delay)

    @precondition(lambda self: any(len(model.in_flight[index][1]) > 1 for model, index in self.in_flight()))
    @rule(pick=st.integers(0, 50))
    def bisect(self, pick: int) -> None:
        """A request is refused and sent again in two parts."""
        requests = [(model, index) for model, index in self.in_flight() if len(model.in_flight[index][1]) > 1]
        model, index = requests[pick % len(requests)]
        claim, ids = model.in_flight.pop(index)
        halves = [ids[: len(ids) // 2], ids[len(ids) // 2 :]]
        self.scheduler.split(claim.queue, [(half[0], half[-1], len(half)) for half in halves])
        if not model.abandoned:
            model.parts += halves

    @precondition(lambda self: self.cores)
    @rule(pick=st.integers(0, 50))
    def abandon(self, pick: int) -> None:
        """A core is skipped."""
        model = list(self.cores.values())[pick % len(self.cores)]
        self.scheduler.skip(model.queue)
        model.abandoned = True
        model.unsent, model.requeued, model.parts = [], [], []

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @invariant()
    def counts_match(self) -> None:
        """Requests left, things left, requests in flight and the end equal those of the model."""
        if not hasattr(self, "scheduler"):
            return
        models = self.cores.values()
        assert self.scheduler.requests_left == sum(model.requests for model in models)
        assert self.scheduler.is_done == (not any(model.pending or model.in_flight for model in models))
        for model in models:
            assert model.queue.remaining == len(model.pending)
            assert model.queue.in_flight == len(model.in_flight) <= self.per_core
        retry_times = [
            m.retry_at
            for m in models
            if m.requeued and not (m.unsent or m.parts or m.in_flight) and m.retry_at > self.now
        ]
        if retry_times and not any(m.requeued and m.retry_at <= self.now for m in models):
            assert self.scheduler.next_retry_at() == min(retry_times)

    def teardown(self) -> None:
        """Accepting every further request ends the work."""
        if not hasattr(self, "scheduler"):
            return
        self.now += FAR_FUTURE_SECONDS
        for _ in range(sum(len(model.pending) + len(model.in_flight) for model in self.cores.values()) + 1):
            self.claim()
            if self.in_flight():
                self.answer(0, "none", 2, 0.0)
        assert self.scheduler.is_done
        assert self.scheduler.requests_left == 0
        assert self.scheduler.next_claim(self.now) is None


SchedulerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestScheduler = SchedulerMachine.TestCase


@given(sizes=st.lists(st.integers(1, 450), min_size=1, max_size=6))
def test_next_claim_alternates_between_cores(sizes: list[int]) -> None:
    """With capacity for all, the first requests of all cores come before any second one."""
    schedule = BatchScheduler(per_core=100)
    for number, size in enumerate(sizes):
        schedule.add(make_core(number, size))
    order: list[tuple[int, int]] = []
    rounds = dict.fromkeys(range(len(sizes)), 0)
    while claim := schedule.next_claim(0.0):
        order.append((rounds[claim.queue.id], claim.queue.id))
        rounds[claim.queue.id] += 1
    assert order == sorted(order)
    assert [rounds[number] for number in range(len(sizes))] == [requests_needed(size) for size in sizes]


@given(total=st.integers(1, 1200), returns=st.lists(st.integers(0, 100), min_size=12, max_size=12))
def test_complete_requeued_things_are_repacked(total: int, returns: list[int]) -> None:
    """k requeued things of a core are sent again in ceil(k / 100) requests."""
    schedule = BatchScheduler(per_core=3)
    schedule.add(make_core(1, total))
    came_back = requests = 0
    while claim := schedule.next_claim(0.0):
        requeued = min(returns[requests], claim.limit)
        schedule.complete(claim.queue, requeued=requeued, retry_at=7.0)
        came_back += requeued
        requests += 1
    assert requests == requests_needed(total)
    assert schedule.next_claim(6.9) is None
    second = 0
    while claim := schedule.next_claim(7.0):
        schedule.complete(claim.queue)
        second += 1
    assert second == requests_needed(came_back)
    assert schedule.is_done


def test_next_wave_waits_for_requests_in_flight() -> None:
    """Requeued things wait for the other requests of their core."""
    schedule = BatchScheduler(per_core=4)
    schedule.add(make_core(1, 200))
    first, second = schedule.next_claim(0.0), schedule.next_claim(0.0)
    assert first is not None
    assert second is not None
    schedule.complete(first.queue, requeued=50, retry_at=0.0)
    assert schedule.next_claim(99.0) is None
    schedule.complete(second.queue, requeued=50, retry_at=0.0)
    retry_claim = schedule.next_claim(99.0)
    assert retry_claim is not None
    assert (retry_claim.low, retry_claim.high, retry_claim.limit) == (1, 200, 100)


@pytest.mark.parametrize("dues", [(5.0, 9.0), (9.0, 5.0)])
def test_next_wave_starts_at_the_latest_retry_time(dues: tuple[float, float]) -> None:
    """The next wave of a core starts at the latest of its retry times."""
    schedule = BatchScheduler(per_core=2)
    schedule.add(make_core(1, 200))
    claims = [schedule.next_claim(0.0), schedule.next_claim(0.0)]
    for claim, due in zip(claims, dues, strict=True):
        assert claim is not None
        schedule.complete(claim.queue, requeued=1, retry_at=due)
    assert schedule.next_retry_at() == 9.0
    assert schedule.next_claim(8.9) is None
    assert schedule.next_claim(9.0) is not None


def test_split_parts_come_before_other_things() -> None:
    """The parts of a split batch are sent one by one before other things of the core."""
    schedule = BatchScheduler(per_core=1)
    schedule.add(make_core(1, 150))
    claim = schedule.next_claim(0.0)
    assert claim is not None
    schedule.advance_cursor(claim, 100)
    schedule.split(claim.queue, [(1, 50, 50), (51, 100, 50)])
    observed = []
    while claim := schedule.next_claim(0.0):
        observed.append((claim.low, claim.high, claim.limit))
        schedule.complete(claim.queue)
    assert observed == [(1, 50, 50), (51, 100, 50), (101, 150, 50)]


def test_skip_waiting_core_removes_it() -> None:
    """A core skipped during its backoff leaves the scheduler neither busy nor waiting."""
    schedule = BatchScheduler(per_core=1)
    queues = [make_core(1, 5), make_core(2, 5, first=6)]
    for work in queues:
        schedule.add(work)
    for due in (50.0, 60.0):
        claim = schedule.next_claim(0.0)
        assert claim is not None
        schedule.complete(claim.queue, requeued=5, retry_at=due)
    schedule.skip(queues[0])
    assert (schedule.next_retry_at(), schedule.requests_left, schedule.is_done) == (60.0, 1, False)
    schedule.skip(queues[1])
    assert (schedule.next_retry_at(), schedule.requests_left, schedule.is_done) == (None, 0, True)


def test_is_done_without_cores() -> None:
    """A scheduler without cores is done."""
    schedule = BatchScheduler(per_core=1)
    assert schedule.is_done
    assert schedule.next_claim(0.0) is None


@pytest.mark.parametrize(("things", "requests"), [(0, 0), (1, 1), (99, 1), (100, 1), (101, 2), (200, 2), (201, 3)])
def test_requests_needed_rounds_up(things: int, requests: int) -> None:
    """The minimum is the number of things divided by a hundred, rounded up."""
    assert requests_needed(things) == requests


def test_scheduler_without_capacity_raises() -> None:
    """`per_core` must be at least 1."""
    with pytest.raises(ValueError, match="per_core must be at least 1"):
        BatchScheduler(0)
