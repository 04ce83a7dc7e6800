"""Rule: a person's consent is asked for here, and nowhere is it assumed."""

from __future__ import annotations

import contextlib
import select
import sys
from pathlib import Path
from typing import IO, Final

from asyncgg.cli.console import Console
from asyncgg.errors import UsageError

__all__ = ["confirm_count", "require_terminal"]

_TERMINAL = Path("/dev/tty")
_POLL_INTERVAL: Final = 0.2
"""Seconds in which a signal is noticed."""


def require_terminal(*, stdin_in_use: bool) -> None:
    """Raise UsageError when there is no terminal to ask on; with `stdin_in_use` (a manifest) /dev/tty is tried."""
    if stdin_in_use:
        try:
            with _TERMINAL.open("r"):
                return
        except OSError:
            pass
    elif sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        return
    raise UsageError("there is no terminal to confirm on, so nothing was sent; --yes goes on without being asked")


def confirm_count(console: Console, count: int, action: str, *, stdin_in_use: bool) -> None:
    """Have the person type `number`, which is what `action` is about: a habit does not type it by mistake.

    Raises UsageError for anything else, an empty line and the end of input included.
    """
    console.stderr.write(f"Type {count} to {action}: ")
    console.stderr.flush()
    if stdin_in_use:
        with _TERMINAL.open("r") as terminal:
            answer = _read_line(terminal)
    else:
        answer = _read_line(sys.stdin)
    if not answer.endswith("\n"):
        console.print("")
    if answer.strip().replace(",", "") != str(count):
        raise UsageError("not confirmed, nothing was sent")


def _read_line(stream: IO[str]) -> str:
    """The next line. Ctrl-C just before a read begins does not end it: so none begins before there is something."""
    with contextlib.suppress(OSError, ValueError):  # nothing that can be waited for
        while not select.select([stream], [], [], _POLL_INTERVAL)[0]:
            pass
    return stream.readline()
