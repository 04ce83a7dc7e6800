"""What lanes of one process do together: they begin to send at the same time and commit less often."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from typing import Final

_MAX_WAIT: Final = 10.0
"""Seconds that open lanes wait for the others, some of which may hang."""
_COMMIT_INTERVAL: Final = 0.004
"""Seconds between two commits of a lane, for each lane of the process."""
_MAX_COMMIT_INTERVAL: Final = 0.4


class OpenLanes:
    """The lanes that run in this process."""

    def __init__(self) -> None:
        self._lanes: set[str] = set()
        self._opening: set[str] = set()
        self._all_open = asyncio.Event()

    @contextlib.contextmanager
    def add(self, name: str) -> Iterator[None]:
        """Note that a lane is being opened, and at the end of the block that it has ended."""
        self._lanes.add(name)
        self._opening.add(name)
        self._all_open.clear()
        try:
            yield
        finally:
            self._lanes.discard(name)
            self._note_open(name)

    async def wait_for_others(self, name: str) -> None:
        """Note that a lane is open, and wait until no other one is being opened, for 10 s at most.

        To open a lane takes the CPU time of 50 requests, which lanes that send already would lack.
        """
        self._note_open(name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MAX_WAIT):
                await self._all_open.wait()

    @property
    def commit_interval(self) -> float:
        """Seconds between two commits of a lane: each journal has commits of its own."""
        return min(_COMMIT_INTERVAL * (len(self._lanes) - 1), _MAX_COMMIT_INTERVAL)

    def release(self) -> None:
        """End the wait of all lanes."""
        self._opening.clear()
        self._all_open.set()

    def _note_open(self, name: str) -> None:
        self._opening.discard(name)
        if not self._opening and not self._all_open.is_set():
            gc.collect(1)  # else Python does it soon after, for 0.3 s with 100 lanes, while they send
            self._all_open.set()
