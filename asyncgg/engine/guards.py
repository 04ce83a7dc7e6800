"""The rules that stop a run or scan that fails, is denied, is unreachable or stays throttled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncgg.classify import ReplyVerdict
from asyncgg.models import RunState

_DENIED_CORES: Final = 3
"""Denied cores, with nothing accepted: the permission itself counts as missing."""
_MAX_REFUSALS: Final = 3
"""Refusals outside the service model, with nothing accepted: the endpoint counts as wrong."""
_INITIAL_FAILURES: Final = 5
_INITIAL_TIMEOUT: Final = 5.0
"""Unanswered requests, and seconds: an endpoint that never replied counts as unreachable."""
_MIN_THROTTLES: Final = 5
"""Throttles before `stall_timeout` applies: each can bring a pause of minutes, but the time can
also pass while the machine sleeps."""


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
    `stall_timeout`: seconds without an accepted request before a throttled or unanswered run stops.
    `remedy`: what to do if access is denied.
    """

    def __init__(
        self, *, abort_at: float | None = None, abort_after: int = 1, stall_timeout: float = 300.0, remedy: str = ""
    ) -> None:
        self._abort_at = abort_at
        self._abort_after = max(1, abort_after)
        self._stall_timeout = stall_timeout
        self._remedy = remedy
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
            f"{self._failed} of {self._finished} finished things failed ({percent:.1f} %);"
            f" the abort threshold is {self._abort_at:g} %",
        )

    def record_reply(self, verdict: ReplyVerdict, core: str, message: str, now: float) -> StopReason | None:
        """Record the verdict of one request; `message` describes it for people."""
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
                return StopReason(RunState.ABORTED, f"every request is rejected: {message}; check the endpoint")
        return None

    def check_at_end(self, message: str) -> StopReason | None:
        """When the work is done: the reason to stop if every core was denied."""
        return self._access_denied(message) if self._denied_cores and not self._accepted else None

    def _access_denied(self, message: str) -> StopReason:
        reason = f"access denied for every core: {message}; {self._remedy}"
        return StopReason(RunState.ABORTED, reason, is_auth_error=True)

    def _throttled_too_long(self, now: float) -> StopReason | None:
        self._throttles += 1
        if self._throttled_since is None:
            self._throttled_since = now
        waited = now - self._throttled_since
        if waited < self._stall_timeout or self._throttles < _MIN_THROTTLES:
            return None
        reason = (
            f"throttled {self._throttles} times in {waited:.0f} s, no request accepted: quota used by other clients"
        )
        return StopReason(RunState.ABORTED, reason)

    def _unreachable(self, message: str, now: float) -> StopReason | None:
        self._unreachable_count += 1
        if self._unreachable_since is None:
            self._unreachable_since = now
        waited = now - self._unreachable_since
        timeout = self._stall_timeout if self._answered else min(_INITIAL_TIMEOUT, self._stall_timeout)
        if waited < timeout or self._unreachable_count < _INITIAL_FAILURES:
            return None
        reason = f"no response to {self._unreachable_count} requests in {waited:.0f} s: {message}"
        return StopReason(RunState.ABORTED, reason)
