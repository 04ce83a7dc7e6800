"""Rule: whether the pages of one list still make sense one after the other is decided here; pure.

The service says how a list goes on by a token, and nothing but that token ends a list. One that comes a second time, or
a page that was there before, would go on for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["PageLoopDetector"]

_MAX_EMPTY_PAGES: Final = 20
"""Empty pages in a row that a list may have before its end: a filter may leave some, but not so many."""


class PageLoopDetector:
    """The pages of one list in their order; `token` is what the first of them is asked with."""

    __slots__ = ("_empty", "_pages", "_tokens")

    def __init__(self, token: str = "") -> None:
        self._tokens = {token}
        self._pages: set[int] = set()
        self._empty = 0

    def accept(self, names: Iterable[str], token: str) -> bool:
        """Note a page of these names that another is to follow; False when the list turns in circles.

        The last page of a list, which has no token, ends it whatever it holds, and need not be noted.
        """
        content = tuple(names)
        self._empty = 0 if content else self._empty + 1
        if token in self._tokens or self._empty > _MAX_EMPTY_PAGES or (content and hash(content) in self._pages):
            return False
        self._tokens.add(token)
        self._pages.add(hash(content))
        return True
