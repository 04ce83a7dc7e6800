"""Rule: who writes where is decided here: results to standard output, everything else to standard error.

With `--json` standard output gets one object and nothing else. Standard error may be closed, full or gone: that never
stops a run.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

from asyncgg.errors import AsyncggError

__all__ = ["BestEffortStream", "Console"]


class BestEffortStream:
    """A text stream whose failures are ignored: nobody reading it is no reason to stop disassociating."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or do not."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or do not."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person may be looking."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        """The descriptor; raises OSError when there is none."""
        if self._stream is None:
            raise OSError("no standard error")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """Rich draws in ASCII where this cannot carry more."""
        return getattr(self._stream, "encoding", None) or "utf-8"


class Console:
    """What one command writes."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, log_json: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.log_json = log_json
        self.stderr = BestEffortStream(sys.stderr)

    def print(self, *lines: str) -> None:
        """Lines for a person, to standard error."""
        self.stderr.write("".join(f"{line}\n" for line in lines))
        self.stderr.flush()

    def log_event(self, event: Mapping[str, Any], *lines: str) -> None:
        """Lines for a person, or with `--log-format json` one JSON line: the `event` and when it was."""
        if not self.log_json:
            self.print(*lines)
            return
        timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.print(json.dumps({"at": timestamp, **event}))

    def write_result(self, document: Mapping[str, Any], lines: Sequence[str]) -> None:
        """The command's result: the object with `--json`, else the lines. Raises `AsyncggError` on a full disk."""
        text = json.dumps(document) if self.as_json else "\n".join(lines)
        if sys.stdout is None:
            return
        try:
            sys.stdout.write(_escape_unencodable(text, sys.stdout.encoding) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            pass  # nobody wants to know; the exit code says it as well
        except OSError as error:
            raise AsyncggError(f"standard output cannot be written: {error.strerror}") from None


def _escape_unencodable(text: str, encoding: str | None) -> str:
    """`text` with what the stream's encoding lacks (a file name's odd bytes, say) written as backslash escapes."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
