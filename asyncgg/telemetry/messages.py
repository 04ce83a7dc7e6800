"""Events as lines of text and as fields of JSON lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from asyncgg import events
from asyncgg.events import Event
from asyncgg.formatting import format_count

_CAUSES: Final = {
    events.RateReason.OVERLOADED: "throttled again at once",
    events.RateReason.BLOCKED: "throttled, nothing accepted since",
    events.RateReason.SHARE: "throttled, share of a lower quota",
}


@dataclass(frozen=True, slots=True)
class EventMessage:
    """How one type of event is written."""

    event: str
    """The name in JSON."""
    format_text: Callable[[Any], str]
    kind: Callable[[Any], str] = lambda event: ""
    """What a display limits together; empty: not limited."""
    fields: Callable[[Any], dict[str, Any]] = asdict
    """The other fields in JSON."""
    level: int = logging.WARNING

    def text(self, event: Event) -> str:
        """The event as one line."""
        return " ".join(self.format_text(event).split())


def _started(event: events.RunStarted) -> str:
    things, requests = format_count(event.pending, "thing"), format_count(event.requests, "request")
    return f"run {event.run}: {things} pending, at least {requests}"


def _rate_changed(event: events.RateChanged) -> str:
    slower = event.new < event.old
    cause = _CAUSES.get(event.reason, "throttled") if slower else event.reason.value
    verb = "slowing" if slower else "speeding up"
    return f"{cause}: {verb} from {event.old:.1f} to {event.new:.1f} requests/s"


def _rate_fields(event: events.RateChanged) -> dict[str, Any]:
    return {"rate": round(event.new, 3), "old": round(event.old, 3), "reason": event.reason.value}


def _core_skipped(event: events.CoreSkipped) -> str:
    outcome = "already disassociated, the core no longer exists" if event.counts_as_done else "failed"
    things = format_count(event.things, "thing")
    return f"skipping core {event.core}: {things} marked {outcome}: {event.code}: {event.message}"


def _core_skipped_fields(event: events.CoreSkipped) -> dict[str, Any]:
    fields = asdict(event)
    return fields | {"missing": fields.pop("counts_as_done")}


def _page_failed(event: events.PageFailed) -> str:
    listing = f"listing core {event.core}" if event.core else "listing the cores"
    return f"{listing} failed{_attempt(event)}: {event.code}: {event.message}"


def _core_scan_failed(event: events.CoreScanFailed) -> str:
    return f"core {event.core} {event.reason}" + (f": {event.code}: {event.message}" if event.code else "")


def _invalid_names(event: events.InvalidNames) -> str:
    source = f"core {event.core}" if event.core else "the list of cores"
    return f"ignored invalid name {event.names[0]} returned for {source}"


def _request_failed(event: events.RequestFailed) -> str:
    things = format_count(event.things, "thing")
    return f"core {event.core}: request with {things} failed{_attempt(event)}: {event.code}: {event.message}"


def _attempt(event: events.PageFailed | events.RequestFailed) -> str:
    """What follows from a failure that counts as an attempt."""
    if not event.attempt:
        return ""
    again = ", trying again" if event.attempt < event.max_attempts else ""
    return f"{again} (attempt {event.attempt} of {event.max_attempts})"


def request_fields(event: events.RequestFinished) -> dict[str, Any]:
    """The fields of a request in logs; `seconds` is its duration."""
    fields = asdict(event)
    del fields["finished_at"]  # a log has times of its own
    return {"detail": fields.pop("message"), **fields, "result": event.result, "seconds": round(event.seconds, 6)}


def _request_finished(event: events.RequestFinished) -> str:
    answer = f"HTTP {event.status}" if event.status else "no response"
    error = f" {event.code}: {event.message}" if event.code else ""
    return (
        f"{event.operation} {event.core or '(all cores)'}, {event.things} things, attempt {event.attempt}:"
        f" {answer}{error} in {event.seconds:.3f} s, request ID {event.request_id or 'unknown'}"
    )


def _batch_finished(event: events.BatchFinished) -> str:
    return (
        f"batch {event.batch} of core {event.core} recorded: {event.changed} changed, {event.already} already,"
        f" {event.failed} failed, {event.requeued} requeued"
    )


MESSAGES: Final[dict[type[Any], EventMessage]] = {
    events.RunStarted: EventMessage("started", _started, level=logging.INFO),
    events.Stopping: EventMessage(
        "stopping", lambda event: f"stopping ({event.reason}): waiting for in-flight requests"
    ),
    events.RunEnded: EventMessage(
        "ended",
        lambda event: event.reason if event.limit_reached else f"run ended: {event.state}",
        fields=lambda event: {"state": event.state.value, "reason": event.reason},
        level=logging.INFO,
    ),
    events.RateChanged: EventMessage(
        "rate",
        _rate_changed,
        lambda event: "slower" if event.new < event.old else "faster",
        _rate_fields,
        logging.INFO,
    ),
    events.SendingPaused: EventMessage(
        "paused", lambda event: f"paused for {event.seconds:.1f} s: {event.reason}", lambda event: "paused"
    ),
    events.CoreSkipped: EventMessage(
        "core-skipped", _core_skipped, lambda event: f"core {event.code}", _core_skipped_fields
    ),
    events.PageFailed: EventMessage("page-failed", _page_failed, lambda event: f"page {event.code}"),
    events.CoreScanFailed: EventMessage("core-scan-failed", _core_scan_failed, lambda event: f"core {event.reason}"),
    events.InvalidNames: EventMessage("invalid-names", _invalid_names, lambda event: "invalid names"),
    events.RequestFailed: EventMessage("request-failed", _request_failed, lambda event: f"request {event.code}"),
}
"""The types of events that a display shows."""

LOG_MESSAGES: Final[dict[type[Any], EventMessage]] = MESSAGES | {
    events.ScanEnded: EventMessage(
        "scan-ended",
        lambda event: f"scan ended: {event.state}" + (f": {event.reason}" if event.reason else ""),
        fields=lambda event: {"state": event.state.value, "reason": event.reason},
        level=logging.INFO,
    ),
    events.RequestFinished: EventMessage("request", _request_finished, fields=request_fields, level=logging.DEBUG),
    events.BatchFinished: EventMessage("batch", _batch_finished, level=logging.DEBUG),
}
"""The types of events that the log has."""
