"""The formula, the estimate and the loop detection of listings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asyncgg.inventory import minimum_requests
from asyncgg.inventory.queue import PageLoopDetector, requests_left


def test_minimum_requests_formula() -> None:
    """max(1, ceil(C / 100)) pages of cores and max(1, ceil(n / 100)) of each core."""
    assert minimum_requests([]) == 1
    assert minimum_requests([0]) == 2
    assert minimum_requests([0, 100, 101, 300]) == 1 + 1 + 1 + 2 + 3
    assert minimum_requests([1] * 100) == 101
    assert minimum_requests([1] * 101) == 103


@given(
    waiting=st.integers(0, 1000),
    pages=st.lists(st.integers(1, 9), max_size=20),
    ended=st.integers(0, 1000),
    more=st.integers(0, 5000),
    core_list_pending=st.booleans(),
)
def test_requests_left_is_at_least_one_per_list(
    waiting: int, pages: list[int], ended: int, more: int, core_list_pending: bool
) -> None:
    """Every unfinished list needs one request; without one the estimate is 0."""
    remaining = requests_left(
        waiting=waiting,
        started=len(pages),
        started_pages=sum(pages),
        ended=ended,
        ended_pages=ended + more if ended else 0,
        core_list_pending=core_list_pending,
    )
    assert remaining >= waiting + len(pages) + core_list_pending
    assert bool(remaining) == bool(waiting or pages or core_list_pending)


def test_requests_left_uses_mean_of_ended_lists() -> None:
    """Ten unlisted cores and one started core, after a hundred cores of three pages each."""
    assert (
        requests_left(waiting=10, started=1, started_pages=1, ended=100, ended_pages=300, core_list_pending=False) == 32
    )


@given(st.lists(st.sets(st.integers(0, 10_000), min_size=1, max_size=5), max_size=50, unique_by=tuple))
def test_loop_detector_distinct_pages_are_accepted(pages: list[set[int]]) -> None:
    """Distinct pages with distinct tokens are not a loop."""
    detector = PageLoopDetector()
    assert all(detector.accept(map(str, page), f"token-{number}") for number, page in enumerate(pages))


@given(st.integers(1, 30), st.integers(0, 29))
def test_loop_detector_repeated_token_is_rejected(length: int, back: int) -> None:
    """A token that returns to an earlier page is rejected at its first repetition."""
    detector, back = PageLoopDetector(), back % length
    tokens = ["", *(f"token-{number}" for number in range(length - 1))]
    for number, token in enumerate(tokens[1:]):
        assert detector.accept([f"thing-{number}"], token)
    assert not detector.accept(["another"], tokens[back])


def test_loop_detector_resumed_list_rejects_first_token() -> None:
    """A resumed list rejects the token it was resumed with."""
    assert not PageLoopDetector("t").accept(["a"], "t")
