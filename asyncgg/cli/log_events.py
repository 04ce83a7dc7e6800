"""Turns events into log lines, at most one of a kind in ten seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from asyncgg import events
from asyncgg.classify import ReplyVerdict

_CORE_SKIPPED: Final = {ReplyVerdict.CORE_MISSING.value, ReplyVerdict.CORE_DENIED.value}
_MIN_INTERVAL: Final = 10.0
"""Seconds between two lines of one kind."""
_REPORTABLE_RATE_RATIO: Final = 0.8
"""A rate is logged if a throttle lowered it, or if the last logged one is less than this part of it."""
_CAUSES: Final = {
    events.RateReason.OVERLOADED: "throttled again at once",
    events.RateReason.BLOCKED: "throttled, nothing accepted since",
    events.RateReason.SHARE: "throttled, share of a lower quota",
}


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
        line = _LINES.get(type(event))
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
        text, fields = " ".join(line.text(event).split()), {"event": line.event, **line.fields(event)}
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


# --- the lines by type of event ---


@dataclass(frozen=True, slots=True)
class _Line:
    event: str
    """The name in JSON."""
    text: Callable[[Any], str]
    kind: Callable[[Any], str] = lambda event: ""
    """What is rate-limited together; empty: not limited."""
    fields: Callable[[Any], dict[str, Any]] = asdict
    """The other fields in JSON."""


def _started(event: events.RunStarted) -> str:
    return f"run {event.run}: {event.pending:,} things pending, {event.requests:,} requests minimum"


def _rate_changed(event: events.RateChanged) -> str:
    slower = event.new < event.old
    cause = _CAUSES.get(event.reason, "throttled") if slower else event.reason.value
    verb = "slowing" if slower else "speeding up"
    return f"{cause}: {verb} from {event.old:.1f} to {event.new:.1f} requests/s"


def _rate_fields(event: events.RateChanged) -> dict[str, Any]:
    return {"rate": round(event.new, 3), "old": round(event.old, 3), "reason": event.reason.value}


def _core_skipped(event: events.CoreSkipped) -> str:
    outcome = "already disassociated, the core no longer exists" if event.counts_as_done else "failed"
    return f"skipping core {event.core}: {event.things:,} things marked {outcome}: {event.code}: {event.message}"


def _core_skipped_fields(event: events.CoreSkipped) -> dict[str, Any]:
    fields = asdict(event)
    return fields | {"missing": fields.pop("counts_as_done")}


def _page_failed(event: events.PageFailed) -> str:
    listing = f"listing core {event.core}" if event.core else "listing the cores"
    return f"{listing}: a page failed: {event.code}: {event.message}"


def _core_scan_failed(event: events.CoreScanFailed) -> str:
    return f"core {event.core} {event.reason}" + (f": {event.code}: {event.message}" if event.code else "")


def _invalid_names(event: events.InvalidNames) -> str:
    source = f"core {event.core}" if event.core else "the list of cores"
    return f"ignored invalid name {event.names[0]} returned for {source}"


def _request_failed(event: events.RequestFailed) -> str:
    return f"core {event.core}: request with {event.things:,} things failed: {event.code}: {event.message}"


_LINES: Final[dict[type[Any], _Line]] = {
    events.RunStarted: _Line("started", _started),
    events.Stopping: _Line("stopping", lambda event: f"stopping ({event.reason}): waiting for in-flight requests"),
    events.RunEnded: _Line(
        "ended",
        lambda event: event.reason if event.limit_reached else f"run ended: {event.state}",
        fields=lambda event: {"state": event.state.value, "reason": event.reason},
    ),
    events.RateChanged: _Line(
        "rate", _rate_changed, lambda event: "slower" if event.new < event.old else "faster", _rate_fields
    ),
    events.SendingPaused: _Line(
        "paused", lambda event: f"paused for {event.seconds:.1f} s: {event.reason}", lambda event: "paused"
    ),
    events.CoreSkipped: _Line("core-skipped", _core_skipped, lambda event: f"core {event.code}", _core_skipped_fields),
    events.PageFailed: _Line("page-failed", _page_failed, lambda event: f"page {event.code}"),
    events.CoreScanFailed: _Line("core-scan-failed", _core_scan_failed, lambda event: f"core {event.reason}"),
    events.InvalidNames: _Line("invalid-names", _invalid_names, lambda event: "invalid names"),
    events.RequestFailed: _Line("request-failed", _request_failed, lambda event: f"request {event.code}"),
}
