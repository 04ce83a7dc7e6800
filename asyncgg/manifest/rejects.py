"""Writes the bad rows of a manifest to a CSV (`--rejects`)."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text, os_errors_as
from asyncgg.manifest.rows import BadRow


class RejectsWriter(AbstractContextManager["RejectsWriter"]):
    """A CSV of bad rows: `file,line,reason,raw`, UTF-8, `raw` as in `BadRow`.

    `close()` moves the complete file to its path. Without bad rows the file has only the header, so
    that an older file is not mistaken for this run's. The context manager also closes on an error,
    because the rows that stopped a run are what the user wants to see.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `UsageError` if the file cannot be written."""
        self._path = Path(path)
        self.count = 0
        """Number of rows written."""
        self._stack = contextlib.ExitStack()
        self._writer = csv.writer(self._stack.enter_context(atomic_write_text(self._path)), lineterminator="\n")
        self._writer.writerow(("file", "line", "reason", "raw"))

    def write(self, rows: Iterable[BadRow]) -> None:
        """Add rows. Raises `UsageError` if they cannot be written (full disk)."""
        with os_errors_as(UsageError, f"{self._path}: cannot write the file"):
            for row in rows:
                self._writer.writerow((row.file, row.line, row.reason, row.raw))
                self.count += 1

    def close(self) -> None:
        """Complete the file. Can be called more than once. Raises `UsageError` if that fails."""
        self._stack.close()

    def __exit__(self, *_: object) -> None:
        self.close()
