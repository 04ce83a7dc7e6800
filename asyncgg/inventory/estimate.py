"""Rule: how many requests a sweep needs is said here: the formula, and what is left of a sweep under way; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from asyncgg.transport.base import MAX_PAGE_SIZE

__all__ = ["minimum_requests", "requests_left"]


def minimum_requests(things: Iterable[int]) -> int:
    """The fewest requests that list a fleet whose cores have so many client devices each.

    ceil(C / 100) pages of cores, one at least, and max(1, ceil(n / 100)) of each core's client devices. A service that
    sends a token with a last page which is full makes it one more for each such list.
    """
    sizes = list(things)
    return max(1, math.ceil(len(sizes) / MAX_PAGE_SIZE)) + sum(
        max(1, math.ceil(size / MAX_PAGE_SIZE)) for size in sizes
    )


def requests_left(
    *, waiting: int, started: int, started_pages: int, ended: int, ended_pages: int, core_list_pending: bool
) -> int:
    """Requests a sweep still needs, as far as can be told.

    `waiting` cores have no page yet and take the mean of the `ended` ones; `begun` cores, which have `started_pages`
    between them, at least one more each, or what lacks to the mean. While the list of cores itself goes on
    (`cores_left`) it takes one more at least, and nobody knows how many cores will come.
    """
    mean = max(1.0, ended_pages / ended) if ended else 1.0
    return math.ceil(waiting * mean + max(started, started * mean - started_pages)) + core_list_pending
