"""Line numbers of the keys of a TOML text, which tomllib does not provide."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

KeyPath = tuple[str | int, ...]
"""Keys and array indexes from the top: `("rule", 0, "name")`."""

_BLANKS_AND_COMMENTS: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'", re.DOTALL
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, where each key, table and array item of a TOML text first appears.

    The text must be valid: tomllib must have accepted it.
    """
    return _KeyScanner(text.replace("\r\n", "\n")).scan()


class _KeyScanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line_ends = [index for index, char in enumerate(text) if char == "\n"]
        self._key_lines: dict[KeyPath, int] = {}
        self._table_counts: dict[KeyPath, int] = {}  # `[[...]]` headers so far

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._consume(_BLANKS_AND_COMMENTS)
        while self._position < len(self._text):
            if self._text.startswith("[[", self._position):
                table = self._table_header(2, item=True)
            elif self._text[self._position] == "[":
                table = self._table_header(1, item=False)
            else:
                self._key_value(table)
            self._consume(_BLANKS_AND_COMMENTS)
        return self._key_lines

    def _table_header(self, brackets: int, *, item: bool) -> KeyPath:
        line = self._current_line()
        self._position += brackets
        path: KeyPath = ()
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            self._key_lines.setdefault(path, line)
            if item and number == len(keys):
                self._table_counts[path] = self._table_counts.get(path, 0) + 1
            if path in self._table_counts:
                path = (*path, self._table_counts[path] - 1)
                self._key_lines.setdefault(path, line)
        self._position += brackets
        return path

    def _key_value(self, table: KeyPath) -> None:
        line, path = self._current_line(), table
        for key in self._keys():
            path = (*path, key)
            self._key_lines.setdefault(path, line)
        self._position += 1  # the equals sign
        self._consume(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._consume(_SPACE)
            if bare := _BARE_KEY.match(self._text, self._position):
                keys.append(bare.group())
                self._position = bare.end()
            else:
                keys.append(self._quoted())
            self._consume(_SPACE)
            if self._text[self._position] != ".":
                return keys
            self._position += 1

    def _quoted(self) -> str:
        start = self._position
        self._consume(_STRING)
        return str(tomllib.loads(f"key = {self._text[start : self._position]}")["key"])

    def _value(self, path: KeyPath) -> None:
        char = self._text[self._position]
        if char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        else:
            self._consume(_STRING if char in "\"'" else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._position += 1
        number = 0
        self._consume(_BLANKS_AND_COMMENTS)
        while self._text[self._position] != "]":
            item = (*path, number)
            self._key_lines.setdefault(item, self._current_line())
            self._value(item)
            number += 1
            self._consume(_BLANKS_AND_COMMENTS)
            if self._text[self._position] == ",":
                self._position += 1
                self._consume(_BLANKS_AND_COMMENTS)
        self._position += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._position += 1
        self._consume(_BLANKS_AND_COMMENTS)
        while self._text[self._position] != "}":
            self._key_value(path)
            self._consume(_BLANKS_AND_COMMENTS)
            if self._text[self._position] == ",":
                self._position += 1
                self._consume(_BLANKS_AND_COMMENTS)
        self._position += 1

    def _consume(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._position)
        assert match is not None, "tomllib accepted this text"
        self._position = match.end()

    def _current_line(self) -> int:
        return bisect_right(self._line_ends, self._position - 1) + 1 if self._position else 1
