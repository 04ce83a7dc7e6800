"""The backoff of a lane on times that the test supplies."""

from __future__ import annotations

from asyncgg.engine.outage import TOLERATED_FAILURES, OutageTracker


def test_record_failure_of_one_moment_is_one_step() -> None:
    """A hundred requests in flight at the same time that fail are one step of the backoff."""
    tracker = OutageTracker()
    steps = [tracker.record_failure("core", 0.0, 1.0 + number / 1000, tolerated=0) for number in range(100)]
    assert steps == [1] + [0] * 99
    assert tracker.record_failure("core", 2.0, 3.0, tolerated=0) == 2


def test_record_failure_of_single_requests_is_tolerated() -> None:
    """Failures between answers bring no pause; failures of everything do, with growing steps."""
    tracker = OutageTracker()
    for time in range(0, 100, 2):
        assert tracker.record_failure("core", time, time + 0.5) == 0
        tracker.record_answer(time + 1)
    steps = [tracker.record_failure("core", 100.0 + time, 100.5 + time) for time in range(6)]
    assert steps == [0] * TOLERATED_FAILURES + [1, 2, 3]
    assert tracker.active
    tracker.record_answer(50.0)  # sent before the outage
    assert tracker.active
    tracker.record_answer(110.0)
    assert not tracker.active


def test_is_particular_needs_an_answer_to_a_later_request() -> None:
    """Failures of several cores are no outage only if a request sent later was answered."""
    tracker = OutageTracker()
    tracker.record_answer(1.0)
    tracker.record_failure("core-1", 2.0, 2.5)
    tracker.record_failure("core-2", 2.0, 2.5)
    assert not tracker.is_particular(2.0, 1000.0)
    tracker.record_answer(3.0)
    assert tracker.is_particular(2.0, 3.5)


def test_is_particular_of_a_core_that_fails_alone() -> None:
    """The only core left is given a minute, then its failures are its own."""
    tracker = OutageTracker()
    tracker.record_failure("core", 10.0, 10.5)
    assert [tracker.is_particular(10.0, now) for now in (10.5, 69.0, 71.0)] == [False, False, True]
