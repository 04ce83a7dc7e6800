"""Rule: which list is asked next, and how much is left, is known here; no request, no file, no clock of its own.

A list that has begun goes on before another begins: a core with many pages is the one that would end last. The list of
cores is itself such a list, so its pages come early and the others are read while it still goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from asyncgg.inventory.chain import Chain
from asyncgg.inventory.estimate import requests_left

__all__ = ["Agenda", "Listing"]


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
    anew: int = 0
    """How often it was begun again."""
    tried: bool = False
    """Whether the next page was asked for before."""
    chain: Chain = field(default_factory=Chain)

    @property
    def of_cores(self) -> bool:
        """Whether it is the list of cores."""
        return not self.number

    def begin_anew(self) -> None:
        """Go back to the first page."""
        self.token, self.pages, self.attempts, self.chain = "", 0, 0, Chain()
        self.anew += 1


class Agenda:
    """The lists that have not come to their end. `on_news` is called when something can be asked for or has ended."""

    def __init__(self, on_news: Callable[[], object]) -> None:
        self._on_news = on_news
        self._ready: deque[Listing] = deque()
        self._begun: dict[int, int] = {}  # pages of the lists that have begun, by core
        self._ended = 0
        self._ended_pages = 0
        self.cores_left = False
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
        self.cores_left |= listing.of_cores
        self._ready.append(listing)
        self._on_news()

    def take(self) -> Listing:
        """The list whose page is to be asked for; there must be one `ready`."""
        return self._ready.popleft()

    def go_on(self, listing: Listing) -> None:
        """A page was had and another follows."""
        if not listing.of_cores:
            self._begun[listing.number] = listing.pages
        self._ready.appendleft(listing)
        self._on_news()

    def put_back(self, listing: Listing, delay: float = 0.0) -> None:
        """The page was not had; it is asked for again after `delay` seconds."""
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self.put_back, listing)
            return
        self._ready.appendleft(listing)
        self._on_news()

    def end(self, listing: Listing) -> None:
        """The list has come to its end, or is given up."""
        self.unfinished -= 1
        if listing.of_cores:
            self.cores_left = False
        else:
            self._begun.pop(listing.number, None)
            self._ended += 1
            self._ended_pages += listing.pages
        self._on_news()

    def requests_left(self) -> int:
        """Requests that are still needed, as far as can be told."""
        return requests_left(
            waiting=self.unfinished - len(self._begun) - self.cores_left,
            begun=len(self._begun),
            begun_pages=sum(self._begun.values()),
            ended=self._ended,
            ended_pages=self._ended_pages,
            cores_left=self.cores_left,
        )
