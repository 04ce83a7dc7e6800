"""Writes results to standard output, logs to standard error, and asks for confirmation."""

from __future__ import annotations

import contextlib
import json
import select
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from asyncgg.cli.wrapping import terminal_width, wrap_lines
from asyncgg.errors import AsyncggError, UsageError
from asyncgg.formatting import format_timestamp

_TERMINAL: Final = Path("/dev/tty")
_POLL_INTERVAL: Final = 0.2
"""Seconds within which a signal is noticed."""
_CONFIRM_ATTEMPTS: Final = 3


class BestEffortStream:
    """A text stream that ignores errors: a closed or full standard error must not stop a run."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, ignoring errors."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, ignoring errors."""
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        """The file descriptor. Raises OSError without one."""
        if self._stream is None:
            raise OSError("no standard error")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The encoding, by which Rich chooses its characters."""
        return getattr(self._stream, "encoding", None) or "utf-8"


class Console:
    """The output of one command. With `as_json` standard output holds one JSON object only."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, log_json: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.log_json = log_json
        self.stderr = BestEffortStream(sys.stderr)
        self.verbose = 0
        """How much of the log is shown: 1 with -v, 2 with -vv."""
        self.show_record: Callable[[Mapping[str, Any], str], None] | None = None
        """Shows a log record on a live display; None without one."""

    def print(self, *lines: str) -> None:
        """Write lines to standard error, wrapped on a terminal."""
        self._write(wrap_lines(lines, terminal_width(self.stderr)))

    def log_event(self, event: Mapping[str, Any], *lines: str) -> None:
        """Write lines to standard error; with `--log-format json` the `event` and the time."""
        if not self.log_json:
            self.print(*lines)
            return
        self._write([json.dumps({"at": format_timestamp(time.time()), **event})])

    def _write(self, lines: Iterable[str]) -> None:
        self.stderr.write("".join(f"{line}\n" for line in lines))
        self.stderr.flush()

    def write_result(self, document: Mapping[str, Any], lines: Sequence[str], *, always_print: bool = False) -> None:
        """Write the result to standard output: the object with `--json`, else the lines.

        With `always_print` the lines also go to standard error, unless the console is quiet.
        Raises `AsyncggError` on a full disk.
        """
        if always_print and self.as_json and not self.quiet:
            self.print(*lines)
        text = json.dumps(document) if self.as_json else "\n".join(wrap_lines(lines, terminal_width(sys.stdout)))
        if sys.stdout is None:
            return
        try:
            sys.stdout.write(_escape_unencodable(text, sys.stdout.encoding) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            pass  # the reader closed the pipe; the exit code has the result
        except OSError as error:
            raise AsyncggError(f"cannot write to standard output: {error.strerror}") from None

    def confirm_count(self, count: int | str, action: str, *, stdin_in_use: bool) -> None:
        """Have the user type `count`, the number of things or requests that `action` concerns.

        Asks again after another input. Raises `UsageError` after the third one, or when the input
        ends.
        """
        with _TERMINAL.open("r") if stdin_in_use else contextlib.nullcontext(sys.stdin) as stream:
            for attempt in range(_CONFIRM_ATTEMPTS):
                if attempt:
                    self.print(f"This is not {count}; press Ctrl-C to cancel")
                self.stderr.write(f"Type {count} to {action}: ")
                self.stderr.flush()
                answer = _read_line(stream)
                if answer.strip().replace(",", "") == str(count):
                    return
                if not answer.endswith("\n"):
                    self.print("")
                    break
        raise UsageError("not confirmed, nothing was sent")


def require_terminal(*, stdin_in_use: bool) -> None:
    """Raise `UsageError` without a terminal; /dev/tty is used with `stdin_in_use`."""
    if stdin_in_use:
        try:
            with _TERMINAL.open("r"):
                return
        except OSError:
            pass
    elif sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        return
    raise UsageError("no terminal to confirm on, nothing was sent; pass --yes to run without confirmation")


def _read_line(stream: IO[str]) -> str:
    """The next line. Ctrl-C just before a read does not interrupt it, so wait for input first."""
    with contextlib.suppress(OSError, ValueError):  # not a stream that can be waited for
        while not select.select([stream], [], [], _POLL_INTERVAL)[0]:
            pass
    return stream.readline()


def _escape_unencodable(text: str, encoding: str | None) -> str:
    """`text` with backslash escapes for what the encoding lacks, such as bytes of file names."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
