"""The records of `asyncgg` in `logging`: their fields, their JSON form and the files they go to."""

from __future__ import annotations

import json
import logging
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import os_errors_as
from asyncgg.formatting import format_timestamp

ROOT: Final = logging.getLogger("asyncgg")
ROOT.addHandler(logging.NullHandler())  # else `logging` itself prints the warnings of a library
PROBLEMS: Final = logging.getLogger("asyncgg.telemetry")
"""The logger of failures of logs and metrics, such as a full disk. They end no run."""
METRICS: Final = logging.getLogger("asyncgg.metrics")
"""The logger of metrics in the embedded metric format."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LOG_START: Final = re.compile(rb"\{|\d{4}-\d\d-\d\dT")


def record_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Level, logger, text and extra fields of a record."""
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if "_aws" in extra:  # a metric line has only its own members
        return extra
    return {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(), **extra}


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The time, and what `record_fields` returns."""
        return json.dumps({"at": format_timestamp(record.created), **record_fields(record)}, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as time, level, logger and text."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of printable characters."""
        text = record.getMessage()
        text = text if text.isprintable() else ascii(text)[1:-1]
        return f"{format_timestamp(record.created)} {record.levelname} {record.name} {text}"


def opening_log(path: Path) -> AbstractContextManager[None]:
    """Raise `UsageError` for an `OSError` of the block, which opens the log at `path`."""
    return os_errors_as(UsageError, f"{path}: cannot write the log")


def check_log_path(path: Path) -> None:
    """Raise `UsageError` if `path` is an existing file of another kind, such as a manifest or a journal."""
    with opening_log(path):
        if not path.is_file():
            return
        with path.open("rb") as file:
            start = file.read(16)
    if start and not _LOG_START.match(start):
        raise UsageError(f"{path}: exists and is not a log; choose another file")
