"""Rule: when a run must stop by itself is decided here: a pure record of what happened, times given as arguments.

The abort rule has the semantics of AWS IoT Jobs: at least so many percent of at least so many finished things failed.
The others need no setting: a run that is denied everywhere, reaches nobody, or is throttled without end does no good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.classify import Verdict
from asyncgg.model import Operation, RunState

__all__ = ["Guards", "Stop"]

_DENIED_CORES: Final = 3
"""Different cores that must be denied, with nothing accepted, before the permission itself counts as missing."""
_REFUSED: Final = 3
"""Refusals outside the service model, with nothing accepted, before the endpoint counts as the wrong one."""
_FIRST_TRIES: Final = 5
_FIRST_PATIENCE: Final = 5.0
"""Unanswered requests, and seconds, before an endpoint that never answered is given up."""
_THROTTLES: Final = 5
"""Throttles before `patience` ends a run: few, since each may have brought a pause of minutes; not one, since the time
may have gone by in a machine that slept."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ends before its work does."""

    state: RunState
    reason: str
    """One line, for a person."""
    credentials: bool = False
    """Whether credentials or permissions are the reason."""


class Guards:
    """The guards of one start of a run. Times in seconds of one monotonic clock.

    `abort_at`: percent of failed things; None switches the abort rule off. `abort_after`: finished things before it
    applies. `patience`: seconds without a single accepted request before a throttled or unanswered run stops.
    `operation`: the one that must be permitted.
    """

    def __init__(
        self,
        *,
        abort_at: float | None = None,
        abort_after: int = 1,
        patience: float = 300.0,
        operation: Operation = Operation.DISASSOCIATE,
    ) -> None:
        self._abort_at = abort_at
        self._abort_after = max(1, abort_after)
        self._patience = patience
        self._operation = operation
        self._finished = 0
        self._failed = 0
        self._accepted = False
        self._answered = False
        self._denied: set[str] = set()
        self._refused = 0
        self._throttles = 0
        self._throttled_since: float | None = None
        self._silences = 0
        self._silent_since: float | None = None

    def finished(self, done: int, failed: int) -> Stop | None:
        """Note things with a final outcome."""
        self._finished += done + failed
        self._failed += failed
        if self._abort_at is None or self._finished < self._abort_after:
            return None
        percent = 100 * self._failed / self._finished
        if not self._failed or percent < self._abort_at:
            return None
        return Stop(
            RunState.ABORTED,
            f"{self._failed} of {self._finished} finished things failed ({percent:.1f} %):"
            f" the abort rule allows less than {self._abort_at:g} %",
        )

    def answered(self, verdict: Verdict, core: str, words: str, now: float) -> Stop | None:
        """Note what one request came to; `words` says it for a person."""
        if verdict in {Verdict.NOT_SENT, Verdict.LOST}:
            return self._silent(words, now)
        self._answered = True
        self._silences, self._silent_since = 0, None
        if verdict is Verdict.THROTTLED:
            return self._throttled(now)
        if verdict is Verdict.ACCEPTED:
            self._accepted = True
            self._throttles, self._throttled_since = 0, None
        elif verdict is Verdict.CORE_DENIED:
            self._denied.add(core)
            if not self._accepted and len(self._denied) >= _DENIED_CORES:
                return self._denied_everywhere(words)
        elif verdict is Verdict.REFUSED:
            self._refused += 1
            if not self._accepted and self._refused >= _REFUSED:
                return Stop(RunState.ABORTED, f"every request is refused: {words}; is the endpoint right?")
        return None

    def at_end(self, words: str) -> Stop | None:
        """The work is over; whether that was only because everything was denied."""
        if self._denied and not self._accepted:
            return self._denied_everywhere(words)
        return None

    def _denied_everywhere(self, words: str) -> Stop:
        return Stop(
            RunState.ABORTED,
            f"every core is denied: {words}; grant greengrass:{self._operation.api}, then resume and retry",
            credentials=True,
        )

    def _throttled(self, now: float) -> Stop | None:
        self._throttles += 1
        if self._throttled_since is None:
            self._throttled_since = now
        waited = now - self._throttled_since
        if waited < self._patience or self._throttles < _THROTTLES:
            return None
        return Stop(
            RunState.ABORTED,
            f"throttled {self._throttles} times in {waited:.0f} s, nothing accepted: others use up the quota",
        )

    def _silent(self, words: str, now: float) -> Stop | None:
        self._silences += 1
        if self._silent_since is None:
            self._silent_since = now
        waited = now - self._silent_since
        patience = self._patience if self._answered else min(_FIRST_PATIENCE, self._patience)
        if waited < patience or self._silences < _FIRST_TRIES:
            return None
        return Stop(RunState.ABORTED, f"no answer to {self._silences} requests in {waited:.0f} s: {words}")
