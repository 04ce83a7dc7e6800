"""The lists still to be read: which page is requested next, and how many requests remain."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from asyncgg.batching import spread
from asyncgg.transport.base import MAX_PAGE_SIZE

_MAX_EMPTY_PAGES: Final = 20
"""Consecutive empty pages that a list may have: a filter may leave some, but not this many."""


# A list ends only when a page has no token, so a repeated token or a repeated page would continue
# for ever.
class PageLoopDetector:
    """Detects a list whose pages repeat. `token` is the token of its first page."""

    def __init__(self, token: str = "") -> None:
        self._tokens = {token}
        self._pages: set[int] = set()
        self._empty = 0

    def accept(self, names: Iterable[str], token: str) -> bool:
        """Add a page that another page follows; False when the list repeats itself."""
        content = tuple(names)
        self._empty = 0 if content else self._empty + 1
        if token in self._tokens or self._empty > _MAX_EMPTY_PAGES or (content and hash(content) in self._pages):
            return False
        self._tokens.add(token)
        self._pages.add(hash(content))
        return True


@dataclass(slots=True, eq=False)
class Listing:
    """A list being read: the client devices of a core, or the cores."""

    number: int = 0
    """The number of the core in the snapshot; 0: the list of cores."""
    core: str = ""
    token: str = ""
    """Token of the next page."""
    pages: int = 0
    """Pages received in this start."""
    attempts: int = 0
    """Counted attempts for the next page."""
    restarts: int = 0
    is_retry: bool = False
    """Whether the next page was requested before."""
    failing_since: float | None = None
    """Loop time at which the first failed request for the next page was sent."""
    throttles: int = 0
    """How many of its latest requests were throttled."""
    loop_detector: PageLoopDetector = field(default_factory=PageLoopDetector)

    @property
    def is_core_list(self) -> bool:
        """Whether this is the list of cores."""
        return not self.number

    def restart(self) -> None:
        """Return to the first page."""
        self.token, self.pages, self.attempts, self.loop_detector = "", 0, 0, PageLoopDetector()
        self.restarts += 1


# A started list is finished before another one starts: a core with many pages would otherwise end
# last. The list of cores is one of the lists, so its pages come early, and client devices are
# listed while it continues.
class ListingQueue:
    """The unfinished lists. `on_change` is called when a page can be requested or a list ends."""

    def __init__(self, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        self._ready: deque[Listing] = deque()
        self._started_pages: dict[int, int] = {}  # pages of the started lists, by core
        self._ended = 0
        self._ended_pages = 0
        self.core_list_pending = False
        """Whether the list of cores is unfinished."""
        self.unfinished = 0
        """Unfinished lists, including those in flight and those waiting for a retry."""

    @property
    def ready(self) -> bool:
        """Whether a page can be requested now."""
        return bool(self._ready)

    def add(self, listing: Listing) -> None:
        """Add a list."""
        self.unfinished += 1
        self.core_list_pending |= listing.is_core_list
        self._ready.append(listing)
        self._on_change()

    def spread(self) -> None:
        """Put the lists in an order of which every part is spread over all of them."""
        self._ready = deque(spread(self._ready))

    def take(self) -> Listing:
        """Remove the list whose page is requested next; one must be `ready`."""
        return self._ready.popleft()

    def requeue_next_page(self, listing: Listing) -> None:
        """Return a list of which a page was received and another follows."""
        if not listing.is_core_list:
            self._started_pages[listing.number] = listing.pages
        self._ready.appendleft(listing)
        self._on_change()

    def requeue(self, listing: Listing, delay: float = 0.0) -> None:
        """Return a list whose page was not received, to be requested after `delay` seconds."""
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self.requeue, listing)
            return
        self._ready.appendleft(listing)
        self._on_change()

    def end(self, listing: Listing) -> None:
        """Mark a list as completed or abandoned."""
        self.unfinished -= 1
        if listing.is_core_list:
            self.core_list_pending = False
        else:
            self._started_pages.pop(listing.number, None)
            self._ended += 1
            self._ended_pages += listing.pages
        self._on_change()

    def requests_left(self) -> int:
        """Estimated requests still needed."""
        return requests_left(
            waiting=self.unfinished - len(self._started_pages) - self.core_list_pending,
            started=len(self._started_pages),
            started_pages=sum(self._started_pages.values()),
            ended=self._ended,
            ended_pages=self._ended_pages,
            core_list_pending=self.core_list_pending,
        )


def minimum_requests(things: Iterable[int]) -> int:
    """Minimum requests that list a fleet; `things`: the number of client devices of each core.

    max(1, ceil(C / 100)) pages of cores, and max(1, ceil(n / 100)) pages of each core's client
    devices. A service that sends a token with a full last page needs one more for each such list.
    """
    sizes = list(things)
    return sum(max(1, math.ceil(size / MAX_PAGE_SIZE)) for size in (len(sizes), *sizes))


def requests_left(
    *, waiting: int, started: int, started_pages: int, ended: int, ended_pages: int, core_list_pending: bool
) -> int:
    """Estimated requests that a scan still needs.

    `waiting` cores have no page yet and count as the mean of the `ended` ones. `started` cores,
    with `started_pages` in all, need the rest of the mean, at least one each. An unfinished list of
    cores needs at least one, and the number of further cores is unknown.
    """
    mean = max(1.0, ended_pages / ended) if ended else 1.0
    return math.ceil(waiting * mean + max(started, started * mean - started_pages)) + core_list_pending
