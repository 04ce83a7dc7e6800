"""Rule: the formula, the estimate and the judgement of pages, all pure, are tested here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asyncgg.inventory import minimum_requests
from asyncgg.inventory.queue import PageLoopDetector, requests_left


def test_the_formula() -> None:
    """ceil(C / 100), one at least, and max(1, ceil(n / 100)) of each core."""
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
    cores_left=st.booleans(),
)
def test_an_estimate_is_never_below_what_is_certain(
    waiting: int, pages: list[int], ended: int, more: int, cores_left: bool
) -> None:
    """Every list that has not ended needs one request at least; with nothing left the estimate is nothing."""
    remaining = requests_left(
        waiting=waiting,
        started=len(pages),
        started_pages=sum(pages),
        ended=ended,
        ended_pages=ended + more if ended else 0,
        core_list_pending=cores_left,
    )
    assert remaining >= waiting + len(pages) + cores_left
    assert bool(remaining) == bool(waiting or pages or cores_left)


def test_an_estimate_goes_by_the_mean() -> None:
    """Ten cores like the hundred before, of three pages each, and one that has had one of them."""
    assert (
        requests_left(waiting=10, started=1, started_pages=1, ended=100, ended_pages=300, core_list_pending=False) == 32
    )


@given(st.lists(st.sets(st.integers(0, 10_000), min_size=1, max_size=5), max_size=50, unique_by=tuple))
def test_a_sound_list_goes_on(pages: list[set[int]]) -> None:
    """Different pages with different tokens are never taken for a circle."""
    chain = PageLoopDetector()
    assert all(chain.accept(map(str, page), f"token-{number}") for number, page in enumerate(pages))


@given(st.integers(1, 30), st.integers(0, 29))
def test_every_circle_is_found(length: int, back: int) -> None:
    """A token that leads back to any earlier place is found the first time it comes."""
    chain, back = PageLoopDetector(), back % length
    tokens = ["", *(f"token-{number}" for number in range(length - 1))]
    for number, token in enumerate(tokens[1:]):
        assert chain.accept([f"thing-{number}"], token)
    assert not chain.accept(["another"], tokens[back])


def test_a_list_that_is_gone_on_with_knows_its_first_token() -> None:
    """After a restart the token it was begun with is one it has seen."""
    assert not PageLoopDetector("t").accept(["a"], "t")
