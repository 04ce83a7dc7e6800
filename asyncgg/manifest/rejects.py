"""Writes the bad rows of a manifest to a CSV (`--rejects`)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self

from asyncgg.errors import UsageError
from asyncgg.files import is_same_file
from asyncgg.manifest.rows import BadRow


class RejectsWriter:
    """A CSV of bad rows: `file,line,reason,raw`, UTF-8, `raw` as in `BadRow`.

    `close()` moves the complete file to its path. Without bad rows the file has only the header, so
    that an older file is not mistaken for this run's. The context manager also closes on an error,
    because the rows that stopped a run are what the user wants to see.
    """

    def __init__(self, path: str | os.PathLike[str], *, inputs: Iterable[str] = ()) -> None:
        """Raises `UsageError` if the file cannot be written or is one of `inputs`."""
        self._path = Path(path)
        self.count = 0
        """Number of rows written."""
        for input_path in inputs:
            if is_same_file(self._path, Path(input_path)):
                raise UsageError(f"{path}: the rejects would overwrite the input {input_path}; choose another file")
        # A device or a pipe can only be written to. Of a link, the target is replaced.
        self._temp_path: Path | None = None
        try:
            if self._path.exists() and not self._path.is_file() and not self._path.is_dir():
                self._file: IO[str] = self._path.open("w", encoding="utf-8", newline="")
            else:
                self._path = self._path.resolve()
                if self._path.is_dir():
                    raise UsageError(f"{path} is a directory; give a file for the rejects")
                self._temp_path = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
                self._file = self._temp_path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(("file", "line", "reason", "raw"))
        except OSError as error:
            raise self._write_error(error) from None

    def write(self, rows: Iterable[BadRow]) -> None:
        """Add rows. Raises `UsageError` if they cannot be written (full disk)."""
        try:
            for row in rows:
                self._writer.writerow((row.file, row.line, row.reason, row.raw))
                self.count += 1
        except OSError as error:
            raise self._write_error(error) from None

    def close(self) -> None:
        """Complete the file. Can be called more than once. Raises `UsageError` if that fails."""
        if self._file.closed:
            return
        try:
            self._file.close()
            if self._temp_path is not None:
                self._temp_path.replace(self._path)
        except OSError as error:
            if self._temp_path is not None:
                self._temp_path.unlink(missing_ok=True)
            raise self._write_error(error) from None

    def _write_error(self, error: OSError) -> UsageError:
        return UsageError(f"{self._path}: cannot write the rejects: {error.strerror or error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
