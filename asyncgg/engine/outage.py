"""Distinguishes an outage of the service from failures of single requests."""

from __future__ import annotations

import math
from typing import Final

from asyncgg.classify import ReplyVerdict

AMBIGUOUS: Final = frozenset({ReplyVerdict.TRANSIENT, ReplyVerdict.LOST, ReplyVerdict.FOREIGN})
"""Failures of requests that were possibly applied."""

TOLERATED_FAILURES: Final = 3
"""Moments of failure in a row that bring no pause: of 10 % random failures, 1 in 1,000 brings one."""
_MAX_SINGLE_CORE: Final = 60.0
"""Seconds after which the failure of one core is no outage, although nothing else shows it."""


class OutageTracker:
    """The failures (5xx, lost, foreign, not sent) of one lane since the last answer of the service.

    Requests in flight at the same time fail in one moment: it counts once. Times are seconds of one
    clock; `started` is the time at which a request was sent.
    """

    def __init__(self) -> None:
        self.active = False
        """Whether the lane paused because everything failed, and no request was answered since."""
        self._moments = 0
        self._last_moment_at = -math.inf
        self._last_answered_start = -math.inf
        self._failing_cores: set[str] = set()
        self._failing_since = 0.0

    def record_answer(self, started: float) -> None:
        """The service accepted or refused a request."""
        self._last_answered_start = max(self._last_answered_start, started)
        if started >= self._last_moment_at:
            self._moments, self.active = 0, False
            self._failing_cores.clear()

    def record_failure(self, core: str, started: float, now: float, tolerated: int = TOLERATED_FAILURES) -> int:
        """The step of the backoff that this failure begins; 0: no new pause."""
        if not self._failing_cores:
            self._failing_since = started
        self._failing_cores.add(core)
        if started < self._last_moment_at:
            return 0
        self._moments, self._last_moment_at = self._moments + 1, now
        step = max(0, self._moments - tolerated)
        self.active = self.active or step > 0
        return step

    def is_particular(self, since: float, now: float) -> bool:
        """Whether a failure is one of its own request only, which was first sent at `since`.

        The service answered a request sent later, or nothing else was to be sent for a while.
        """
        is_single_core = len(self._failing_cores) == 1 and now - self._failing_since > _MAX_SINGLE_CORE
        return self._last_answered_start > since or is_single_core
