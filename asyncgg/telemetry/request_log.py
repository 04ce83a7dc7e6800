"""Appends one JSON line per request to a file."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from asyncgg.events import Event, RequestFinished, RunStarted
from asyncgg.formatting import format_timestamp
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.log_records import PROBLEMS, check_log_path, opening_log

_MAX_DELAY: Final = 0.1
"""Seconds until a line is written. One by one, lines cost four times the CPU: each write exchanges the
GIL with the thread of the journal, and the encoder is not in the caches of the processor."""


_quote: Final = json.encoder.encode_basestring_ascii


class RequestLog(AbstractContextManager["RequestLog"]):
    """A listener that logs every request at `path`. After a write error it logs nothing more.

    Needs a running loop. Raises `UsageError` if the file cannot be opened, or is not a log.
    """

    event_types = frozenset({RequestFinished, RunStarted})

    def __init__(self, path: Path, labels: TelemetryLabels) -> None:
        self._path = path
        self._label_text = _format_labels(labels.known())
        self._labels = labels
        self._second, self._second_text = -1, ""
        self._pending: list[RequestFinished] = []
        """Requests that are not written yet."""
        self._loop = asyncio.get_running_loop()
        check_log_path(path)
        with opening_log(path):
            self._file = path.open("ab+", buffering=0)
            if self._file.seekable() and self._file.seek(0, os.SEEK_END):
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":  # an earlier process was killed while it wrote
                    self._file.write(b"\n")

    def __exit__(self, *_: object) -> None:
        self._write()
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Add the line of a request."""
        if isinstance(event, RunStarted):
            self._write()
            self._label_text = _format_labels({**self._labels.known(), "run": event.run})
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

    # A dictionary and json.dumps would take three times as long, which is 2 % of the CPU of a request.
    def _format(self, event: RequestFinished) -> str:
        """The members of `request_fields` as JSON."""
        status = "null" if event.status is None else event.status
        return (
            f'{{"at": "{self._format_time(event.finished_at)}", {self._label_text}'
            f'"operation": {_quote(event.operation)}, "core": {_quote(event.core)},'
            f' "things": {event.things}, "batch": {event.batch}, "attempt": {event.attempt},'
            f' "result": {_quote(event.result)}, "verdict": {_quote(event.verdict)},'
            f' "status": {status}, "code": {_quote(event.code)}, "detail": {_quote(event.message)},'
            f' "request_id": {_quote(event.request_id)}, "failed_things": {event.failed_things},'
            f' "seconds": {round(event.seconds, 6)!r}}}\n'
        )

    def _format_time(self, seconds: float) -> str:
        """As `format_timestamp`, which is called once a second."""
        fraction, whole = math.modf(seconds)
        more, microseconds = divmod(round(fraction * 1e6), 1_000_000)
        second = int(whole) + more
        if second != self._second:
            self._second, self._second_text = second, format_timestamp(second).partition(".")[0]
        return f"{self._second_text}.{microseconds // 1000:03}Z"


def _format_labels(labels: Mapping[str, Any]) -> str:
    return "".join(f"{_quote(name)}: {json.dumps(value)}, " for name, value in labels.items())
