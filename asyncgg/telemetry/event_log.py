"""Writes the events of runs and scans to `logging`."""

from __future__ import annotations

import logging
from typing import Any, Final

from asyncgg.events import BatchFinished, Event, RequestFinished, RunStarted
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.messages import LOG_MESSAGES

_EVENTS: Final = logging.getLogger("asyncgg.run")
_REQUESTS: Final = logging.getLogger("asyncgg.request")


class EventLogger:
    """A listener that logs to `asyncgg.run`, and requests and batches (DEBUG) to `asyncgg.request`.

    The fields of the event are attributes of the record, with `run`, `account`, `region` and
    `policy`; `message` of an event is called `detail`. In a campaign there is also `target`, with
    which the text begins. Whether DEBUG is enabled is decided at the start.
    """

    def __init__(self, labels: TelemetryLabels) -> None:
        self._labels: dict[str, Any] = labels.known()
        self._prefix = f"{labels.target}: " if labels.target else ""
        self.event_types = frozenset(LOG_MESSAGES)
        if _REQUESTS.isEnabledFor(logging.DEBUG):
            self.event_types |= {RequestFinished, BatchFinished}

    def __call__(self, event: Event) -> None:
        """Log the event, if its level is enabled."""
        if isinstance(event, RequestFinished):
            self._log(_REQUESTS, logging.DEBUG, _format_request(event), {"event": "request"} | request_fields(event))
            return
        if isinstance(event, BatchFinished):
            self._log(_REQUESTS, logging.DEBUG, _format_batch(event), _batch_fields(event))
            return
        if isinstance(event, RunStarted):
            self._labels["run"] = event.run
        message = LOG_MESSAGES.get(type(event))
        if message is not None and _EVENTS.isEnabledFor(message.level):
            fields = {"event": message.event, **message.fields(event)}
            if "message" in fields:
                fields["detail"] = fields.pop("message")
            self._log(_EVENTS, message.level, message.text(event), fields)

    def _log(self, logger: logging.Logger, level: int, text: str, fields: dict[str, Any]) -> None:
        logger.log(level, "%s%s", self._prefix, text, extra={**self._labels, **fields})


def request_fields(event: RequestFinished) -> dict[str, Any]:
    """The fields of a request in logs; `seconds` is its duration."""
    return {
        "operation": event.operation,
        "core": event.core,
        "things": event.things,
        "batch": event.batch,
        "attempt": event.attempt,
        "result": event.result,
        "verdict": event.verdict,
        "status": event.status,
        "code": event.code,
        "detail": event.message,
        "request_id": event.request_id,
        "failed_things": event.failed_things,
        "seconds": round(event.seconds, 6),
    }


def _format_request(event: RequestFinished) -> str:
    answer = f"HTTP {event.status}" if event.status else "no response"
    error = f" {event.code}: {event.message}" if event.code else ""
    return (
        f"{event.operation} {event.core or '(all cores)'}, {event.things} things, attempt {event.attempt}:"
        f" {answer}{error} in {event.seconds:.3f} s, request ID {event.request_id or 'unknown'}"
    )


def _batch_fields(event: BatchFinished) -> dict[str, Any]:
    return {
        "event": "batch",
        "core": event.core,
        "batch": event.batch,
        "changed": event.changed,
        "already": event.already,
        "failed": event.failed,
        "requeued": event.requeued,
    }


def _format_batch(event: BatchFinished) -> str:
    return (
        f"batch {event.batch} of core {event.core} recorded: {event.changed} changed, {event.already} already,"
        f" {event.failed} failed, {event.requeued} requeued"
    )
