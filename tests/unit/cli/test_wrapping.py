"""Tests of the wrapping of lines on a terminal."""

from __future__ import annotations

import io

import pytest

from asyncgg.cli.wrapping import terminal_width, wrap_lines
from asyncgg.formatting import CommandLine


class WideTerminal(io.StringIO):
    """A terminal without a descriptor."""

    def isatty(self) -> bool:
        """Always a terminal."""
        return True


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("short", ["short"]),
        ("error: no such file here", ["error: no such file", "  here"]),
        ("  things     12 of 15 were", ["  things     12 of", "             15 were"]),
        ("  recommends a b c d e f g", ["  recommends a b c d", "             e f g"]),
        ("             core-1, core-2", ["             core-1,", "             core-2"]),
        ("a core-with-a-very-long-name-9", ["a", "  core-with-a-very-long-name-9"]),
        ("one\ntwo two two two two", ["one", "two two two two two"]),
        ("", [""]),
    ],
)
def test_wrap_lines_breaks_at_spaces_below_the_value(line: str, expected: list[str]) -> None:
    """At 20 columns; names are never broken."""
    assert list(wrap_lines([line], 20)) == expected


def test_wrap_lines_command_is_one_line() -> None:
    """A command can be copied."""
    command = CommandLine("  asyncgg report asyncgg-20260101.journal --html report.html")
    assert list(wrap_lines([command], 20)) == [command]


def test_wrap_lines_without_width_changes_nothing() -> None:
    """A file or a pipe gets whole lines."""
    assert list(wrap_lines(["word " * 50], None)) == ["word " * 50]


def test_terminal_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS has precedence; 80 if it is unknown; None for everything else."""
    monkeypatch.setenv("COLUMNS", "33")
    assert terminal_width(WideTerminal()) == 33
    monkeypatch.setenv("COLUMNS", "wide")
    assert terminal_width(WideTerminal()) == 80
    assert terminal_width(io.StringIO()) is None
    assert terminal_width(None) is None
    closed = io.StringIO()
    closed.close()
    assert terminal_width(closed) is None
