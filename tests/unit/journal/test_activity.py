"""Tests of the recent activity of a run and of its pause before retries."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.batching import Claim
from asyncgg.journal import JournalReader, JournalStore, JournalWriter, RateDecision, RecordedReply, RetryWait
from asyncgg.journal.activity import RecentRequest, RunActivity, failing_cores, read_activity
from tests.support.journal import ALL_DISASSOCIATED, all_failed, create_journal, make_pairs


def test_rate_covers_the_time_since_the_limit_changed() -> None:
    """At least one second and at most ten, so that it never mixes two limits."""
    requests = tuple(RecentRequest(100.0 - number / 30, False) for number in range(600))
    for since, seconds in ((99.8, 1.0), (96.0, 4.0), (0.0, 10.0)):
        rate, window = RunActivity(requests, RateDecision(since, 30.0, "started"), since).rate(100.0)
        assert window == pytest.approx(seconds)
        assert rate == pytest.approx(30.0)


def test_rate_of_a_young_run_is_not_above_its_limit() -> None:
    """61 requests in 2 s are 30 per second, however few seconds the run is old."""
    requests = tuple(RecentRequest(100.0 - number / 30.5, False) for number in range(61))
    rate, window = RunActivity(requests, None, 98.0).rate(100.0)
    assert rate == pytest.approx(30.5)
    assert window == pytest.approx(2.0)


def test_per_second_counts_the_oldest_first() -> None:
    """Requests outside of the seconds are left out."""
    requests = tuple(RecentRequest(at, False) for at in (99.9, 99.1, 98.5, 50.0))
    assert RunActivity(requests, None, 0.0).per_second(100.0, 3) == [0, 1, 2]


async def test_read_activity_reads_requests_and_limit(tmp_path: Path) -> None:
    """Requests of the last seconds, the limit, and since when it was about the same."""
    create_journal(tmp_path / "j", make_pairs(2, 300))
    journal = JournalWriter(tmp_path / "j", threaded=False)

    def record(store: JournalStore) -> None:
        for at, rate, reason in ((10.0, 30.0, "started"), (20.0, 15.0, "throttled"), (30.0, 15.3, "accepted")):
            store.record_rate(at, rate, reason)
        queues = list(store.pending_cores())
        for number, queue in enumerate(queues * 2):
            batch = store.claim(Claim(queue, queue.first, queue.last, 100), 100.0 + number)
            result = ALL_DISASSOCIATED if number < 2 else all_failed(batch)
            store.record_batch(batch, result, RecordedReply(200.0, "throttled", 429, "", "", 100.5 + number))

    await journal.submit(record)
    journal.close()
    with JournalReader(tmp_path / "j") as reader:
        activity = read_activity(reader, 104.0, 2.5)
        assert activity.requests == (RecentRequest(103.5, True), RecentRequest(102.5, True))
        assert activity.limit == RateDecision(30.0, 15.3, "accepted")
        assert activity.limit_since == 20.0
        assert failing_cores(reader) == [("core-000", 100), ("core-001", 100)]


@pytest.mark.parametrize(
    ("code", "ends_in", "now", "text"),
    [
        ("Busy", 45.0, 1000.0, "18 things on 1 core: Busy, attempt 7 of 10, next in 2 s, at most 45 s more"),
        ("", None, 1001.0, "18 things on 1 core: attempt 7 of 10, next in 1 s"),
        ("Busy", 130.0, 1060.0, "18 things on 1 core: Busy, attempt 7 of 10, next in 0 s, at most 1 min 10 s more"),
    ],
)
def test_retry_wait_describes_itself_as_of_now(code: str, ends_in: float | None, now: float, text: str) -> None:
    """The seconds count down from the time it was recorded; it survives the journal."""
    wait = RetryWait(1000.0, 18, 1, code, 7, 10, 2.0, 3.0, ends_in)
    assert RetryWait.from_json(wait.to_json()) == wait
    assert wait.describe(now) == text
    assert wait.seconds_left(now) == max(0.0, 1003.0 - now)


def test_retry_wait_invalid_text_is_rejected() -> None:
    """A damaged file may hold anything."""
    for text in ("", "[]", '{"at": 1}'):
        with pytest.raises(ValueError, match=r"."):
            RetryWait.from_json(text)


@pytest.mark.parametrize(("answered_at", "seconds"), [(1012.0, 14.0), (None, 3.0)])
async def test_killed_run_took_until_its_last_reply(tmp_path: Path, answered_at: float | None, seconds: float) -> None:
    """Requests and time are of one moment, so the mean is never above the limit; the next start adds to it."""
    path = tmp_path / "j"
    create_journal(path, make_pairs(1, 100))
    journal = JournalWriter(path, threaded=False)

    def run_and_die(store: JournalStore) -> None:
        store.put(state="running", seconds=2.0 if answered_at else 3.0, seconds_at=1000.0)
        (queue,) = store.pending_cores()
        batch = store.claim(Claim(queue, queue.first, queue.last, 100), 1011.0)
        if answered_at:
            store.record_batch(batch, ALL_DISASSOCIATED, RecordedReply(answered_at, "accepted", 200, "", ""))

    await journal.submit(run_and_die)
    journal.close()
    with JournalReader(path) as reader:
        assert reader.summary().seconds == seconds
    JournalWriter(path, threaded=False).close()
    with JournalReader(path) as reader:
        assert reader.summary().seconds == float(reader.meta()["seconds"]) == seconds
