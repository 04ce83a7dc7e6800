"""Turns events into log lines, at most one of a kind in ten seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from asyncgg import events
from asyncgg.classify import ReplyVerdict
from asyncgg.telemetry.messages import MESSAGES

_CORE_SKIPPED: Final = {ReplyVerdict.CORE_MISSING.value, ReplyVerdict.CORE_DENIED.value}
_MIN_INTERVAL: Final = 10.0
"""Seconds between two lines of one kind."""
_REPORTABLE_RATE_RATIO: Final = 0.8
"""A rate is logged if a throttle lowered it, or if the last logged one is less than this part of it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One log line, as text and as the fields of a JSON line."""

    text: str
    fields: dict[str, Any]


@dataclass(slots=True)
class _KindState:
    last_at: float
    suppressed: int = 0


class EventFormatter:
    """Turns events into notices. Times in seconds of one clock."""

    def __init__(self) -> None:
        self._kinds: dict[str, _KindState] = {}
        self._last_rate: float | None = None

    def format(self, event: events.Event, now: float) -> Notice | None:
        """The notice of this event, or None if it is not logged."""
        line = MESSAGES.get(type(event))
        if line is None or (isinstance(event, events.RateChanged) and not self._is_reportable(event)):
            return None
        if isinstance(event, events.RequestFailed) and event.verdict in _CORE_SKIPPED:
            return None  # CoreSkipped follows
        kind = line.kind(event)
        suppressed = self._admit(kind, now) if kind else 0
        if suppressed is None:
            return None
        if isinstance(event, events.RateChanged):
            self._last_rate = event.new
        text, fields = line.text(event), {"event": line.event, **line.fields(event)}
        if suppressed:
            text += f" ({suppressed:,} similar messages suppressed)"
            fields["suppressed"] = suppressed
        return Notice(text, fields)

    def _admit(self, kind: str, now: float) -> int | None:
        """None if a line of this kind is suppressed, else how many were suppressed before it."""
        state = self._kinds.get(kind)
        if state is None:
            self._kinds[kind] = _KindState(now)
            return 0
        if now - state.last_at < _MIN_INTERVAL:
            state.suppressed += 1
            return None
        suppressed, state.last_at, state.suppressed = state.suppressed, now, 0
        return suppressed

    def _is_reportable(self, event: events.RateChanged) -> bool:
        last = self._last_rate
        return event.new < event.old or (last is not None and last <= event.new * _REPORTABLE_RATE_RATIO)
