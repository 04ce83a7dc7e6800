"""Turns events into log lines, at most one of a kind in ten seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from asyncgg.events import (
    CoreScanFailed,
    CoreSkipped,
    Event,
    InvalidNames,
    PageFailed,
    RateChanged,
    RequestFailed,
    RunEnded,
    RunStarted,
    SendingPaused,
    Stopping,
    Throttled,
)

_MIN_INTERVAL: Final = 10.0
"""Seconds between two lines of one kind."""
_REPORTABLE_RATE_RATIO: Final = 0.8
"""A rate is logged if it fell below this part of the last logged one, or recovered from it."""


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

    def format(self, event: Event, now: float) -> Notice | None:
        """The notice of this event, or None if it is not logged."""
        if isinstance(event, RateChanged) and not self._is_reportable(event):
            return None
        formatter = _FORMATTERS.get(type(event))
        formatted = formatter(event) if formatter else None
        if formatted is None:
            return None
        kind, text, fields = formatted
        notice = Notice(" ".join(text.split()), fields)
        return self._rate_limited(kind, notice, now) if kind else notice

    def _rate_limited(self, kind: str, notice: Notice, now: float) -> Notice | None:
        state = self._kinds.get(kind)
        if state is None:
            self._kinds[kind] = _KindState(now)
            return notice
        if now - state.last_at < _MIN_INTERVAL:
            state.suppressed += 1
            return None
        suppressed, state.last_at, state.suppressed = state.suppressed, now, 0
        if not suppressed:
            return notice
        text = f"{notice.text} ({suppressed:,} similar messages suppressed)"
        return Notice(text, {**notice.fields, "suppressed": suppressed})

    def _is_reportable(self, event: RateChanged) -> bool:
        last, new = self._last_rate, event.new
        fell = new <= (event.old if last is None else last) * _REPORTABLE_RATE_RATIO
        recovered = last is not None and last <= new * _REPORTABLE_RATE_RATIO
        if fell or recovered:
            self._last_rate = new
        return fell or recovered


# --- by type of event: the kind that is rate-limited (empty: not limited), the text, and the fields ---

_Formatted = tuple[str, str, dict[str, Any]]


def _started(event: RunStarted) -> _Formatted:
    text = f"run {event.run}: {event.pending:,} things pending, {event.requests:,} requests minimum"
    return "", text, {"event": "started", "run": event.run, "pending": event.pending, "requests": event.requests}


def _stopping(event: Stopping) -> _Formatted:
    text = f"stopping ({event.reason}): waiting for in-flight requests"
    return "", text, {"event": "stopping", "reason": event.reason}


def _ended(event: RunEnded) -> _Formatted:
    text = event.reason if event.limit_reached else f"run ended: {event.state}"
    return "", text, {"event": "ended", "state": event.state.value, "reason": event.reason}


def _rate_changed(event: RateChanged) -> _Formatted:
    change = "slowing" if event.new < event.old else "speeding up"
    return "rate", f"{change} to {event.new:.1f} requests/s", {"event": "rate", "rate": round(event.new, 3)}


def _throttled(event: Throttled) -> _Formatted:
    wait = f", Retry-After {event.retry_after:g} s" if event.retry_after else ""
    fields = {"event": "throttled", "core": event.core, "retry_after": event.retry_after}
    return "throttled", f"throttled (core {event.core}){wait}", fields


def _paused(event: SendingPaused) -> _Formatted:
    fields = {"event": "paused", "reason": event.reason, "seconds": event.seconds}
    return "paused", f"paused for {event.seconds:.1f} s: {event.reason}", fields


def _core_skipped(event: CoreSkipped) -> _Formatted:
    counted_as = "already disassociated, the core no longer exists" if event.counts_as_done else "failed"
    text = f"skipping core {event.core}: {event.things:,} things marked {counted_as}: {event.code}: {event.message}"
    fields = {
        "event": "core-skipped",
        "core": event.core,
        "code": event.code,
        "message": event.message,
        "things": event.things,
        "missing": event.counts_as_done,
    }
    return f"core {event.code}", text, fields


def _page_failed(event: PageFailed) -> _Formatted:
    page = f"listing core {event.core}" if event.core else "listing the cores"
    fields = {"event": "page-failed", "core": event.core, "code": event.code, "message": event.message}
    return f"page {event.code}", f"{page}: a page failed: {event.code}: {event.message}", fields


def _core_scan_failed(event: CoreScanFailed) -> _Formatted:
    fields = {
        "event": "core-scan-failed",
        "core": event.core,
        "reason": event.reason,
        "code": event.code,
        "message": event.message,
    }
    detail = f": {event.code}: {event.message}" if event.code else ""
    return f"core {event.reason}", f"core {event.core} {event.reason}{detail}", fields


def _invalid_names(event: InvalidNames) -> _Formatted:
    source = f"core {event.core}" if event.core else "the list of cores"
    fields = {"event": "invalid-names", "core": event.core, "names": list(event.names)}
    return "invalid names", f"ignored invalid name {event.names[0]} returned for {source}", fields


def _request_failed(event: RequestFailed) -> _Formatted | None:
    if event.verdict in {"core missing", "core denied"}:
        return None  # CoreSkipped follows
    fields = {
        "event": "request-failed",
        "core": event.core,
        "things": event.things,
        "code": event.code,
        "message": event.message,
        "verdict": event.verdict,
    }
    text = f"core {event.core}: request with {event.things:,} things failed: {event.code}: {event.message}"
    return f"request {event.code}", text, fields


_FORMATTERS: Final[dict[type[Any], Callable[[Any], _Formatted | None]]] = {
    RunStarted: _started,
    Stopping: _stopping,
    RunEnded: _ended,
    RateChanged: _rate_changed,
    Throttled: _throttled,
    SendingPaused: _paused,
    CoreSkipped: _core_skipped,
    PageFailed: _page_failed,
    CoreScanFailed: _core_scan_failed,
    InvalidNames: _invalid_names,
    RequestFailed: _request_failed,
}
