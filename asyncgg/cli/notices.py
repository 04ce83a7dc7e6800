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

__all__ = ["Notice", "Notices"]

_EVERY: Final = 10.0
"""Seconds between two lines of one kind."""
_LOWER: Final = 0.8
"""A rate is worth a line when it fell below so much of the one last told, or came back to it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One line: for a person, and as the fields of a JSON line."""

    text: str
    fields: dict[str, Any]


@dataclass(slots=True)
class _Kind:
    told: float
    untold: int = 0


class Notices:
    """Turns events into notices. Times in seconds of one clock."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._rate: float | None = None

    def take(self, event: Event, now: float) -> Notice | None:
        """The line this event deserves, or None."""
        match event:
            case RunStarted(run, pending, requests):
                return _notice(
                    "started",
                    f"run {run}: {pending:,} things pending, {requests:,} requests at least",
                    run=run,
                    pending=pending,
                    requests=requests,
                )
            case Stopping(reason):
                return _notice("stopping", f"stopping ({reason}): what is in flight ends", reason=reason)
            case RunEnded(state, reason, limit_reached=True):
                return _notice("ended", reason, state=state.value, reason=reason)
            case RunEnded(state, reason):
                return _notice("ended", f"run ended: {state}", state=state.value, reason=reason)
            case RateChanged(old, new):
                return self._changed(old, new, now)
            case Throttled(core, retry_after):
                wait = f"; it asks to wait {retry_after:g} s" if retry_after else ""
                notice = _notice("throttled", f"throttled (core {core}){wait}", core=core, retry_after=retry_after)
                return self._sparing("throttled", notice, now)
            case SendingPaused(reason, seconds):
                notice = _notice("paused", f"paused for {seconds:.1f} s: {reason}", reason=reason, seconds=seconds)
                return self._sparing("paused", notice, now)
            case CoreSkipped(core, code, message, things, gone):
                fate = "gone since it was listed" if gone else "given up"
                text = f"core {core} {fate}, {things:,} things {'with it' if gone else 'failed'}: {code}: {message}"
                notice = _notice("core-given-up", text, core=core, code=code, message=message, things=things, gone=gone)
                return self._sparing(f"core {code}", notice, now)
            case PageFailed(core, code, message):
                what = f"a page of core {core}" if core else "a page of the list of cores"
                notice = _notice(
                    "page-failed", f"{what} failed: {code}: {message}", core=core, code=code, message=message
                )
                return self._sparing(f"page {code}", notice, now)
            case CoreScanFailed(core, why, code, message):
                fields = {"core": core, "why": why, "code": code, "message": message}
                said = f": {code}: {message}" if code else ""
                return self._sparing(
                    f"core {why}", _notice("core-not-listed", f"core {core} {why}{said}", **fields), now
                )
            case InvalidNames(core, names):
                where = f"core {core}" if core else "the list of cores"
                text = f"{where} told {names[0]}, which is no name, and is not used"
                return self._sparing("odd names", _notice("odd-names", text, core=core, names=list(names)), now)
            case RequestFailed(verdict="core missing" | "core denied"):
                return None  # CoreGivenUp follows and says more
            case RequestFailed(core, things, code, message, then):
                text = f"request for core {core} failed ({things:,} things): {code}: {message}"
                notice = _notice(
                    "request-failed", text, core=core, things=things, code=code, message=message, verdict=then
                )
                return self._sparing(f"request {code}", notice, now)
            case _:
                return None

    def _sparing(self, kind: str, notice: Notice, now: float) -> Notice | None:
        known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Kind(now)
            return notice
        if now - known.told < _EVERY:
            known.untold += 1
            return None
        untold, known.told, known.untold = known.untold, now, 0
        if not untold:
            return notice
        return Notice(f"{notice.text} (and {untold:,} more like it)", {**notice.fields, "untold": untold})

    def _changed(self, old: float, new: float, now: float) -> Notice | None:
        told = old if self._rate is None else self._rate
        if new > told * _LOWER and (new < told or self._rate is None or told > new * _LOWER):
            return None
        self._rate = new
        notice = _notice("rate", f"rate now {new:.1f} requests/s", rate=round(new, 3))
        return self._sparing("rate", notice, now)


def _notice(event: str, text: str, **fields: Any) -> Notice:
    return Notice(" ".join(text.split()), {"event": event, **fields})
