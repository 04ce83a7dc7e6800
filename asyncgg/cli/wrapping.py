"""Wraps lines of text at the width of a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final, Protocol, TypedDict

from asyncgg.formatting import CommandLine


class _WrappingOptions(TypedDict):
    break_long_words: bool
    break_on_hyphens: bool


_LABEL: Final = re.compile(r" *\S+(?: \S+)* {2,}(?=\S)| {2}\S{10} (?=\S)")
"""A label and the gap after it: further lines start below the value."""
_NESTED: Final = 4
"""A line with at least this indent continues another one, and so do its own further lines."""
_DEFAULT_WIDTH: Final = 80
_WRAPPING: Final[_WrappingOptions] = {"break_long_words": False, "break_on_hyphens": False}


class _TerminalStream(Protocol):
    def isatty(self) -> bool: ...
    def fileno(self) -> int: ...


def terminal_width(stream: _TerminalStream | None) -> int | None:
    """The columns of the terminal that `stream` writes to; None if it is not a terminal."""
    try:
        if stream is None or not stream.isatty():
            return None
    except ValueError:  # closed
        return None
    with contextlib.suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", ""))) > 0:
            return columns
    with contextlib.suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    return _DEFAULT_WIDTH


def wrap_lines(lines: Iterable[str], width: int | None) -> Iterator[str]:
    """`lines`, broken at spaces so that they fit into `width` columns; unchanged if it is None.

    Names are never broken, and neither is a `CommandLine`, so that it can be copied.
    """
    for line in lines:
        for part in [line] if isinstance(line, CommandLine) else line.split("\n"):
            if width is None or len(part) <= width or isinstance(line, CommandLine):
                yield part
            else:
                yield from _wrap(part, width)


def _wrap(line: str, width: int) -> list[str]:
    leading = len(line) - len(line.lstrip(" "))
    label = _LABEL.match(line)
    indent = leading if leading >= _NESTED else leading + 2
    if line.startswith("#", leading):  # each line of a shell comment is one
        return textwrap.wrap(line, width, subsequent_indent=" " * leading + "# ", **_WRAPPING)
    if label is not None and 3 * label.end() <= 2 * width:
        indent = label.end()
    return textwrap.wrap(line, width, subsequent_indent=" " * indent, **_WRAPPING)
