"""Rule: which list is asked next, and how much is left, is known here; no request, no file, no clock of its own.

A list that has begun goes on before another begins: a core with many pages is the one that would end last. The list of
cores is itself such a list, so its pages come early and the others are read while it still goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from asyncgg.inventory.chain import PageLoopDetector
from asyncgg.inventory.estimate import requests_left

__all__ = ["Listing", "ListingQueue"]


@dataclass(slots=True, eq=False)
class Listing:
    """One list under way: a core's client devices, or the cores themselves."""

    number: int = 0
    """The core's number in the snapshot; 0: the list of cores."""
    core: str = ""
    token: str = ""
    """What its next page is asked with."""
    pages: int = 0
    """Of them had in this start."""
    attempts: int = 0
    """Counted ones, for the next page."""
    restarts: int = 0
    """How often it was begun again."""
    is_retry: bool = False
    """Whether the next page was asked for before."""
    loop_detector: PageLoopDetector = field(default_factory=PageLoopDetector)

    @property
    def is_core_list(self) -> bool:
        """Whether it is the list of cores."""
        return not self.number

    def restart(self) -> None:
        """Go back to the first page."""
        self.token, self.pages, self.attempts, self.loop_detector = "", 0, 0, PageLoopDetector()
        self.restarts += 1


class ListingQueue:
    """The lists that have not come to their end. `on_news` is called when something can be asked for or has ended."""

    def __init__(self, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        self._ready: deque[Listing] = deque()
        self._started_pages: dict[int, int] = {}  # pages of the lists that have begun, by core
        self._ended = 0
        self._ended_pages = 0
        self.core_list_pending = False
        """Whether the list of cores is among them."""
        self.unfinished = 0
        """Lists that have not ended, those under way and those that wait for another try included."""

    @property
    def ready(self) -> bool:
        """Whether a page can be asked for now."""
        return bool(self._ready)

    def add(self, listing: Listing) -> None:
        """A list to be read."""
        self.unfinished += 1
        self.core_list_pending |= listing.is_core_list
        self._ready.append(listing)
        self._on_change()

    def take(self) -> Listing:
        """The list whose page is to be asked for; there must be one `ready`."""
        return self._ready.popleft()

    def requeue_next_page(self, listing: Listing) -> None:
        """A page was had and another follows."""
        if not listing.is_core_list:
            self._started_pages[listing.number] = listing.pages
        self._ready.appendleft(listing)
        self._on_change()

    def requeue(self, listing: Listing, delay: float = 0.0) -> None:
        """The page was not had; it is asked for again after `delay` seconds."""
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self.requeue, listing)
            return
        self._ready.appendleft(listing)
        self._on_change()

    def end(self, listing: Listing) -> None:
        """The list has come to its end, or is given up."""
        self.unfinished -= 1
        if listing.is_core_list:
            self.core_list_pending = False
        else:
            self._started_pages.pop(listing.number, None)
            self._ended += 1
            self._ended_pages += listing.pages
        self._on_change()

    def requests_left(self) -> int:
        """Requests that are still needed, as far as can be told."""
        return requests_left(
            waiting=self.unfinished - len(self._started_pages) - self.core_list_pending,
            started=len(self._started_pages),
            started_pages=sum(self._started_pages.values()),
            ended=self._ended,
            ended_pages=self._ended_pages,
            core_list_pending=self.core_list_pending,
        )
