"""Appends one JSON line per request to a file."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path

from asyncgg.events import Event, RequestFinished, RunStarted
from asyncgg.formatting import format_timestamp
from asyncgg.telemetry.event_log import request_fields
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.log_records import PROBLEMS, check_log_path, log_error


class RequestLog(AbstractContextManager["RequestLog"]):
    """A listener that logs every request at `path`. After a write error it logs nothing more.

    Raises `UsageError` if the file cannot be opened, or is not a log.
    """

    event_types = frozenset({RequestFinished, RunStarted})

    def __init__(self, path: Path, labels: TelemetryLabels) -> None:
        self._path = path
        self._labels = labels.known()
        check_log_path(path)
        try:
            self._file = path.open("ab+", buffering=0)
            if self._file.seekable() and self._file.seek(0, os.SEEK_END):
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":  # an earlier process was killed while it wrote
                    self._file.write(b"\n")
        except OSError as error:
            raise log_error(path, error) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Write the line of a request."""
        if isinstance(event, RunStarted):
            self._labels["run"] = event.run
        if not isinstance(event, RequestFinished) or self._file.closed:
            return
        line = {"at": format_timestamp(event.finished_at), **self._labels, **request_fields(event)}
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            PROBLEMS.warning("%s: the request log ends here: %s", self._path, error.strerror or error)
            self._file.close()
