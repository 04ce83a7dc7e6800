"""Shows the records of `logging` on standard error and writes them to `--log-file`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asyncgg.cli.console import Console
from asyncgg.telemetry.log_records import (
    METRICS,
    PROBLEMS,
    ROOT,
    JsonFormatter,
    TextFormatter,
    check_log_path,
    opening_log,
    record_fields,
)

if TYPE_CHECKING:
    from asyncgg.settings import Settings

_MAX_BYTES: Final = 10_000_000
_MAX_FILES: Final = 5
_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


class _ConsoleHandler(logging.Handler):
    """Shows records on the console; without -v only metrics, and problems of logs and metrics."""

    def __init__(self, console: Console, level: int) -> None:
        super().__init__(level)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if not self._console.verbose and record.name not in {PROBLEMS.name, METRICS.name}:
            return
        fields, text = record_fields(record), record.getMessage()
        show = self._console.show_record or self._console.log_event
        show(fields, text)


class _FileHandler(RotatingFileHandler):
    """A log file that ends with the first write error; the run continues."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in logging
        ROOT.removeHandler(self)
        PROBLEMS.warning("%s: the log ends here: it cannot be written", self.baseFilename)


@contextlib.contextmanager
def log_output(console: Console, settings: Settings) -> Iterator[None]:
    """Show and write the log of `asyncgg` during the block. Raises `UsageError` for an unusable file."""
    console.verbose = settings.verbose or 0
    level = _LEVELS[console.verbose]
    if settings.log_format == "emf":  # the metrics are INFO
        level = min(level, logging.INFO)
    handlers: list[logging.Handler] = [_ConsoleHandler(console, level)]
    if settings.log_file is not None:
        handlers.append(_open_file(settings.log_file, as_json=console.log_json, verbose=console.verbose))
    level_before = ROOT.level
    ROOT.setLevel(min(handler.level for handler in handlers))
    for handler in handlers:
        ROOT.addHandler(handler)
    try:
        yield
    finally:
        ROOT.setLevel(level_before)
        for handler in handlers:
            ROOT.removeHandler(handler)
            with contextlib.suppress(OSError):  # the disk is full, which was reported
                handler.close()


def _open_file(path: Path, *, as_json: bool, verbose: int) -> _FileHandler:
    check_log_path(path)
    with opening_log(path):
        handler = _FileHandler(path, maxBytes=_MAX_BYTES, backupCount=_MAX_FILES, encoding="utf-8")
    handler.setLevel(_LEVELS[max(verbose, 1)])
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    return handler
