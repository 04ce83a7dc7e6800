"""Rule: a person's consent is asked for here, and nowhere is it assumed."""

from __future__ import annotations

import contextlib
import select
import sys
from pathlib import Path
from typing import IO, Final

from asyncgg.cli.output import Output
from asyncgg.errors import UsageError

__all__ = ["ask", "must_be_able_to_ask"]

_TERMINAL = Path("/dev/tty")
_GLANCE: Final = 0.2
"""Seconds in which a signal is noticed."""


def must_be_able_to_ask(*, stdin_is_taken: bool) -> None:
    """Raise UsageError when there is no terminal to ask on; with `stdin_is_taken` (a manifest) /dev/tty is tried."""
    if stdin_is_taken:
        try:
            with _TERMINAL.open("r"):
                return
        except OSError:
            pass
    elif sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        return
    raise UsageError("there is no terminal to confirm on, so nothing was sent; --yes goes on without being asked")


def ask(output: Output, number: int, action: str, *, stdin_is_taken: bool) -> None:
    """Have the person type `number`, which is what `action` is about: a habit does not type it by mistake.

    Raises UsageError for anything else, an empty line and the end of input included.
    """
    output.errors.write(f"Type {number} to {action}: ")
    output.errors.flush()
    if stdin_is_taken:
        with _TERMINAL.open("r") as terminal:
            answer = _line(terminal)
    else:
        answer = _line(sys.stdin)
    if not answer.endswith("\n"):
        output.say("")
    if answer.strip().replace(",", "") != str(number):
        raise UsageError("not confirmed, nothing was sent")


def _line(stream: IO[str]) -> str:
    """The next line. Ctrl-C just before a read begins does not end it: so none begins before there is something."""
    with contextlib.suppress(OSError, ValueError):  # nothing that can be waited for
        while not select.select([stream], [], [], _GLANCE)[0]:
            pass
    return stream.readline()
