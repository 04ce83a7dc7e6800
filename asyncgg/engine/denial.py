"""Decides whether denied cores are only those cores, or the permission is missing."""

from __future__ import annotations

import math
from typing import Final, Generic, TypeVar

from asyncgg.engine.guards import StopReason
from asyncgg.formatting import format_count
from asyncgg.models import RunState

T = TypeVar("T")

_DENIED_CORES: Final = 10
"""Denied cores in a row that stop, times the cores asked for each accepted one."""
_WITHDRAWN_CORES: Final = 3
"""Denied cores in a row that stop if they had been accepted before."""


class DenialRule(Generic[T]):
    """Holds the denied cores until a later request is accepted: then only they are denied.

    Nothing else may be concluded from a denied core while it is held. The caller asks the cores in
    the order of `asyncgg.batching.spread`, so that a row of them is spread over the whole list.
    With `disabled` nothing is held. `remedy`: what to do if the permission is missing.
    """

    def __init__(self, remedy: str, *, disabled: bool = False) -> None:
        self.disabled = disabled
        self._remedy = remedy
        self._held: dict[str, tuple[float, T]] = {}
        self._row = self._withdrawn = self._accepted = self._denied = 0
        self._row_starts_at = -math.inf
        self._last_accepted = self._message = ""

    def record_denied(
        self, core: str, started: float, item: T, message: str, *, was_accepted: bool, can_stop: bool = True
    ) -> StopReason | None:
        """Hold `item` of a core denied for the first time. `can_stop`: all cores are known."""
        if core in self._held:
            return None
        self._held[core] = (started, item)
        self._message = message
        self._withdrawn += was_accepted
        self._row += started >= self._row_starts_at
        asked_per_accepted = (self._accepted + self._denied) / self._accepted if self._accepted else 1.0
        if can_stop and (self._row >= _DENIED_CORES * asked_per_accepted or self._withdrawn >= _WITHDRAWN_CORES):
            return self._stop()
        return None

    def record_accepted(self, core: str, started: float) -> list[T]:
        """The items of the cores denied before this request was sent: they are decided."""
        self._accepted += core != self._last_accepted
        self._last_accepted = core
        if not self._held:
            return []
        decided = [name for name, (denied_at, _) in self._held.items() if denied_at <= started]
        self._denied += len(decided)
        items = [self._held.pop(name)[1] for name in decided]
        self._row, self._withdrawn = len(self._held), 0
        return items

    def restart_row(self, now: float) -> None:
        """Count only cores asked from now on: the list of cores is complete and in a new order."""
        self._row, self._row_starts_at = 0, now

    def check_at_end(self) -> StopReason | None:
        """When the work is done: the reason to stop, or None if the held cores are only those."""
        return self._stop() if self._held and (self._withdrawn or not self._accepted) else None

    def take_held(self) -> list[T]:
        """Remove and return what is held."""
        items = [item for _, item in self._held.values()]
        self._held.clear()
        return items

    def _stop(self) -> StopReason:
        number = len(self._held)
        cores = format_count(number, "core")
        which = f"{cores} in a row" if self._accepted else f"{cores}, and no request was accepted"
        message = self._message.rstrip(".")
        reason = f"access denied for {which}: {message}; {self._remedy} (or use --continue-when-denied)"
        return StopReason(RunState.ABORTED, reason, is_auth_error=True)
