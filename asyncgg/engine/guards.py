"""The rules that stop a run or scan that fails, is unreachable or stays throttled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.classify import ReplyVerdict
from asyncgg.models import RunState

_MAX_REFUSALS: Final = 3
"""Refusals outside the service model, with nothing accepted: the endpoint counts as wrong."""
_INITIAL_TIMEOUT: Final = 5.0
"""Seconds after which an endpoint counts as unreachable if no request ever left."""
_MIN_FAILURES: Final = 5
"""Requests before `stall_timeout` applies: each can bring a pause of minutes, but the time can also
pass while the machine sleeps."""
_UNDECIDED: Final = frozenset(
    {
        ReplyVerdict.THROTTLED,
        ReplyVerdict.TRANSIENT,
        ReplyVerdict.LOST,
        ReplyVerdict.FOREIGN,
        ReplyVerdict.NOT_SENT,
    }
)


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a run ends before its work is done."""

    state: RunState
    message: str
    """One line for people."""
    is_auth_error: bool = False
    """Whether credentials or permissions are the reason."""


class AbortRules:
    """The abort rules of one start. Times are seconds of one monotonic clock.

    `abort_at`: percentage of failed things that aborts; None disables the rule.
    `abort_after`: minimum finished things before `abort_at` applies [as in AWS IoT Jobs].
    `stall_timeout`: seconds without an accepted request before a run stops that is throttled,
    unanswered, or answered with 5xx or by something that is not the service.
    """

    def __init__(self, *, abort_at: float | None = None, abort_after: int = 1, stall_timeout: float = 300.0) -> None:
        self._abort_at = abort_at
        self._abort_after = max(1, abort_after)
        self._stall_timeout = stall_timeout
        self._finished = 0
        self._failed = 0
        self._accepted = False
        self._never_sent = True
        self._refusals = 0
        self._stalled = self._throttles = 0
        self._stalled_since = 0.0

    def record_outcomes(self, done: int, failed: int) -> StopReason | None:
        """Count finished things, without those that were already done: they prove nothing."""
        self._finished += done + failed
        self._failed += failed
        if self._abort_at is None or self._finished < self._abort_after:
            return None
        percent = 100 * self._failed / self._finished
        if not self._failed or percent < self._abort_at:
            return None
        return StopReason(
            RunState.ABORTED,
            f"{self._failed:,} of {self._finished:,} finished things failed ({percent:.1f} %);"
            f" the abort threshold is {self._abort_at:g} %",
        )

    def record_reply(
        self, verdict: ReplyVerdict, message: str, now: float, *, particular: bool = False
    ) -> StopReason | None:
        """Record the verdict of one request; `message` describes it for people.

        `particular`: a 5xx while other requests are answered, so that attempts limit the failures.
        """
        self._never_sent = self._never_sent and verdict is ReplyVerdict.NOT_SENT
        if verdict in _UNDECIDED:
            if particular and verdict is ReplyVerdict.TRANSIENT:
                return None
            return self._record_stalled(verdict, message, now)
        if verdict in {ReplyVerdict.CREDENTIALS_EXPIRED, ReplyVerdict.CREDENTIALS_REJECTED}:
            return None
        self._stalled = self._throttles = 0
        if verdict is ReplyVerdict.ACCEPTED:
            self._accepted = True
        elif verdict is ReplyVerdict.REFUSED:
            self._refusals += 1
            if not self._accepted and self._refusals >= _MAX_REFUSALS:
                return StopReason(RunState.ABORTED, f"every request is rejected: {message}; check the endpoint")
        return None

    def _record_stalled(self, verdict: ReplyVerdict, message: str, now: float) -> StopReason | None:
        if not self._stalled:
            self._stalled_since = now
        self._stalled += 1
        self._throttles += verdict is ReplyVerdict.THROTTLED
        waited = now - self._stalled_since
        timeout = min(_INITIAL_TIMEOUT, self._stall_timeout) if self._never_sent else self._stall_timeout
        if waited < timeout or self._stalled < _MIN_FAILURES:
            return None
        if self._throttles == self._stalled:
            reason = (
                f"throttled {self._stalled} times in {waited:.0f} s, no request accepted: quota used by other clients"
            )
        else:
            advice = "; check proxy and endpoint" if verdict is ReplyVerdict.FOREIGN else ""
            reason = f"no request accepted in {waited:.0f} s, {self._stalled} failed: {message}{advice}"
        return StopReason(RunState.ABORTED, reason)
