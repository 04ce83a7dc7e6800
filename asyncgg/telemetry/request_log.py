"""Appends one JSON line per request to a file."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from asyncgg.events import Event, RequestFinished, RunStarted
from asyncgg.formatting import format_timestamp
from asyncgg.telemetry.event_log import request_fields
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.log_records import PROBLEMS, check_log_path, log_error

_MAX_DELAY: Final = 0.1
"""Seconds until a line is written. One by one, lines cost four times the CPU: each write exchanges the
GIL with the thread of the journal, and the encoder is not in the caches of the processor."""


class RequestLog(AbstractContextManager["RequestLog"]):
    """A listener that logs every request at `path`. After a write error it logs nothing more.

    Needs a running loop. Raises `UsageError` if the file cannot be opened, or is not a log.
    """

    event_types = frozenset({RequestFinished, RunStarted})

    def __init__(self, path: Path, labels: TelemetryLabels) -> None:
        self._path = path
        self._labels: dict[str, Any] = labels.known()
        self._pending: list[RequestFinished] = []
        """Requests that are not written yet."""
        self._loop = asyncio.get_running_loop()
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
        self._write()
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Add the line of a request."""
        if isinstance(event, RunStarted):
            self._write()
            self._labels["run"] = event.run
        elif isinstance(event, RequestFinished):
            if not self._pending:
                self._loop.call_later(_MAX_DELAY, self._write)
            self._pending.append(event)

    def _write(self) -> None:
        requests, self._pending = self._pending, []
        if self._file.closed or not requests:
            return
        data = memoryview("".join(map(self._format, requests)).encode())
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            PROBLEMS.warning("%s: the request log ends here: %s", self._path, error.strerror or error)
            self._file.close()

    def _format(self, event: RequestFinished) -> str:
        return json.dumps({"at": format_timestamp(event.finished_at), **self._labels, **request_fields(event)}) + "\n"
