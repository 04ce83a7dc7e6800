"""Rule: which events are worth a line, and how often, is decided here; pure, times are arguments.

A storm of events of one kind becomes one line now and a count later: the screen stays readable, the run stays fast.
"""

from __future__ import annotations

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

__all__ = ["EventFormatter", "Notice"]

_MIN_INTERVAL: Final = 10.0
"""Seconds between two lines of one kind."""
_REPORTABLE_RATE_RATIO: Final = 0.8
"""A rate is worth a line when it fell below so much of the one last told, or came back to it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One line: for a person, and as the fields of a JSON line."""

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
        """The line this event deserves, or None."""
        match event:
            case RunStarted(run, pending, requests):
                return _make_notice(
                    "started",
                    f"run {run}: {pending:,} things pending, {requests:,} requests at least",
                    run=run,
                    pending=pending,
                    requests=requests,
                )
            case Stopping(reason):
                return _make_notice("stopping", f"stopping ({reason}): what is in flight ends", reason=reason)
            case RunEnded(state, reason, limit_reached=True):
                return _make_notice("ended", reason, state=state.value, reason=reason)
            case RunEnded(state, reason):
                return _make_notice("ended", f"run ended: {state}", state=state.value, reason=reason)
            case RateChanged(old, new):
                return self._rate_changed(old, new, now)
            case Throttled(core, retry_after):
                wait = f"; it asks to wait {retry_after:g} s" if retry_after else ""
                notice = _make_notice("throttled", f"throttled (core {core}){wait}", core=core, retry_after=retry_after)
                return self._rate_limited("throttled", notice, now)
            case SendingPaused(reason, seconds):
                notice = _make_notice("paused", f"paused for {seconds:.1f} s: {reason}", reason=reason, seconds=seconds)
                return self._rate_limited("paused", notice, now)
            case CoreSkipped(core, code, message, things, missing):
                label = "gone since it was listed" if missing else "given up"
                text = f"core {core} {label}, {things:,} things {'with it' if missing else 'failed'}: {code}: {message}"
                notice = _make_notice(
                    "core-given-up", text, core=core, code=code, message=message, things=things, gone=missing
                )
                return self._rate_limited(f"core {code}", notice, now)
            case PageFailed(core, code, message):
                page = f"a page of core {core}" if core else "a page of the list of cores"
                notice = _make_notice(
                    "page-failed", f"{page} failed: {code}: {message}", core=core, code=code, message=message
                )
                return self._rate_limited(f"page {code}", notice, now)
            case CoreScanFailed(core, cause, code, message):
                fields = {"core": core, "why": cause, "code": code, "message": message}
                detail = f": {code}: {message}" if code else ""
                return self._rate_limited(
                    f"core {cause}", _make_notice("core-not-listed", f"core {core} {cause}{detail}", **fields), now
                )
            case InvalidNames(core, names):
                source = f"core {core}" if core else "the list of cores"
                text = f"{source} told {names[0]}, which is no name, and is not used"
                return self._rate_limited(
                    "odd names", _make_notice("odd-names", text, core=core, names=list(names)), now
                )
            case RequestFailed(verdict="core missing" | "core denied"):
                return None  # CoreGivenUp follows and says more
            case RequestFailed(core, things, code, message, verdict):
                text = f"request for core {core} failed ({things:,} things): {code}: {message}"
                notice = _make_notice(
                    "request-failed", text, core=core, things=things, code=code, message=message, verdict=verdict
                )
                return self._rate_limited(f"request {code}", notice, now)
            case _:
                return None

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
        return Notice(f"{notice.text} (and {suppressed:,} more like it)", {**notice.fields, "untold": suppressed})

    def _rate_changed(self, old: float, new: float, now: float) -> Notice | None:
        last = old if self._last_rate is None else self._last_rate
        if new > last * _REPORTABLE_RATE_RATIO and (
            new < last or self._last_rate is None or last > new * _REPORTABLE_RATE_RATIO
        ):
            return None
        self._last_rate = new
        notice = _make_notice("rate", f"rate now {new:.1f} requests/s", rate=round(new, 3))
        return self._rate_limited("rate", notice, now)


def _make_notice(event: str, text: str, **fields: Any) -> Notice:
    return Notice(" ".join(text.split()), {"event": event, **fields})
