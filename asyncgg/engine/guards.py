"""Rule: when a run must stop by itself is decided here: a pure record of what happened, times given as arguments.

The abort rule has the semantics of AWS IoT Jobs: at least so many percent of at least so many finished things failed.
The others need no setting: a run that is denied everywhere, reaches nobody, or is throttled without end does no good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.classify import ReplyVerdict
from asyncgg.models import Operation, RunState

__all__ = ["AbortRules", "StopReason"]

_DENIED_CORES: Final = 3
"""Different cores that must be denied, with nothing accepted, before the permission itself counts as missing."""
_MAX_REFUSALS: Final = 3
"""Refusals outside the service model, with nothing accepted, before the endpoint counts as the wrong one."""
_INITIAL_FAILURES: Final = 5
_INITIAL_TIMEOUT: Final = 5.0
"""Unanswered requests, and seconds, before an endpoint that never answered is given up."""
_MIN_THROTTLES: Final = 5
"""Throttles before `patience` ends a run: few, since each may have brought a pause of minutes; not one, since the time
may have gone by in a machine that slept."""


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a run ends before its work does."""

    state: RunState
    message: str
    """One line, for a person."""
    is_auth_error: bool = False
    """Whether credentials or permissions are the reason."""


class AbortRules:
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
        stall_timeout: float = 300.0,
        operation: Operation = Operation.DISASSOCIATE,
    ) -> None:
        self._abort_at = abort_at
        self._abort_after = max(1, abort_after)
        self._stall_timeout = stall_timeout
        self._operation = operation
        self._finished = 0
        self._failed = 0
        self._accepted = False
        self._answered = False
        self._denied_cores: set[str] = set()
        self._refusals = 0
        self._throttles = 0
        self._throttled_since: float | None = None
        self._unreachable_count = 0
        self._unreachable_since: float | None = None

    def record_outcomes(self, done: int, failed: int) -> StopReason | None:
        """Note things with a final outcome."""
        self._finished += done + failed
        self._failed += failed
        if self._abort_at is None or self._finished < self._abort_after:
            return None
        percent = 100 * self._failed / self._finished
        if not self._failed or percent < self._abort_at:
            return None
        return StopReason(
            RunState.ABORTED,
            f"{self._failed} of {self._finished} finished things failed ({percent:.1f} %):"
            f" the abort rule allows less than {self._abort_at:g} %",
        )

    def record_reply(self, verdict: ReplyVerdict, core: str, message: str, now: float) -> StopReason | None:
        """Note what one request came to; `words` says it for a person."""
        if verdict in {ReplyVerdict.NOT_SENT, ReplyVerdict.LOST}:
            return self._unreachable(message, now)
        self._answered = True
        self._unreachable_count, self._unreachable_since = 0, None
        if verdict is ReplyVerdict.THROTTLED:
            return self._throttled_too_long(now)
        if verdict is ReplyVerdict.ACCEPTED:
            self._accepted = True
            self._throttles, self._throttled_since = 0, None
        elif verdict is ReplyVerdict.CORE_DENIED:
            self._denied_cores.add(core)
            if not self._accepted and len(self._denied_cores) >= _DENIED_CORES:
                return self._access_denied(message)
        elif verdict is ReplyVerdict.REFUSED:
            self._refusals += 1
            if not self._accepted and self._refusals >= _MAX_REFUSALS:
                return StopReason(RunState.ABORTED, f"every request is refused: {message}; is the endpoint right?")
        return None

    def check_at_end(self, message: str) -> StopReason | None:
        """The work is over; whether that was only because everything was denied."""
        if self._denied_cores and not self._accepted:
            return self._access_denied(message)
        return None

    def _access_denied(self, message: str) -> StopReason:
        return StopReason(
            RunState.ABORTED,
            f"every core is denied: {message}; grant greengrass:{self._operation.api}, then resume and retry",
            is_auth_error=True,
        )

    def _throttled_too_long(self, now: float) -> StopReason | None:
        self._throttles += 1
        if self._throttled_since is None:
            self._throttled_since = now
        waited = now - self._throttled_since
        if waited < self._stall_timeout or self._throttles < _MIN_THROTTLES:
            return None
        return StopReason(
            RunState.ABORTED,
            f"throttled {self._throttles} times in {waited:.0f} s, nothing accepted: others use up the quota",
        )

    def _unreachable(self, message: str, now: float) -> StopReason | None:
        self._unreachable_count += 1
        if self._unreachable_since is None:
            self._unreachable_since = now
        waited = now - self._unreachable_since
        timeout = self._stall_timeout if self._answered else min(_INITIAL_TIMEOUT, self._stall_timeout)
        if waited < timeout or self._unreachable_count < _INITIAL_FAILURES:
            return None
        return StopReason(
            RunState.ABORTED, f"no answer to {self._unreachable_count} requests in {waited:.0f} s: {message}"
        )
