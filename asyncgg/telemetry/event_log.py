"""Writes the events of runs and scans to `logging`."""

from __future__ import annotations

import logging
from typing import Any, Final

from asyncgg.events import Event, RunStarted
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
        lowest = logging.DEBUG if _REQUESTS.isEnabledFor(logging.DEBUG) else logging.INFO
        self.event_types = frozenset(kind for kind, message in LOG_MESSAGES.items() if message.level >= lowest)

    def __call__(self, event: Event) -> None:
        """Log the event, if its level is enabled."""
        if isinstance(event, RunStarted):
            self._labels["run"] = event.run
        message = LOG_MESSAGES.get(type(event))
        if message is None:
            return
        logger = _REQUESTS if message.level == logging.DEBUG else _EVENTS
        if logger.isEnabledFor(message.level):
            fields = {**self._labels, "event": message.event, **message.fields(event)}
            if "message" in fields:  # a record has an attribute of this name
                fields["detail"] = fields.pop("message")
            logger.log(message.level, "%s%s", self._prefix, message.text(event), extra=fields)
