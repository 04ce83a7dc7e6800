"""Rule: where each key of a TOML text stands is found here; what the keys mean, and whether TOML is valid, is not.

tomllib gives values and no lines. It goes first: a text it has accepted can be walked by these few rules.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

__all__ = ["KeyPath", "key_lines"]

KeyPath = tuple[str | int, ...]
"""Keys and places in arrays from the top: `("rule", 0, "name")`."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'", re.DOTALL
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, on which each key, table and array item of a valid TOML text stands for the first time."""
    return _Walk(text.replace("\r\n", "\n")).run()


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [place for place, sign in enumerate(text) if sign == "\n"]
        self._found: dict[KeyPath, int] = {}
        self._items: dict[KeyPath, int] = {}  # how many `[[...]]` of an array of tables there were

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2, item=True)
            elif self._text[self._at] == "[":
                table = self._header(1, item=False)
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._found

    def _header(self, brackets: int, *, item: bool) -> KeyPath:
        line = self._line()
        self._at += brackets
        path: KeyPath = ()
        keys = self._keys()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            self._found.setdefault(path, line)
            if item and number == len(keys):
                self._items[path] = self._items.get(path, 0) + 1
            if path in self._items:
                path = (*path, self._items[path] - 1)
                self._found.setdefault(path, line)
        self._at += brackets
        return path

    def _pair(self, table: KeyPath) -> None:
        line, path = self._line(), table
        for key in self._keys():
            path = (*path, key)
            self._found.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            if bare := _BARE.match(self._text, self._at):
                keys.append(bare.group())
                self._at = bare.end()
            else:
                keys.append(self._quoted())
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _quoted(self) -> str:
        start = self._at
        self._skip(_STRING)
        return str(tomllib.loads(f"key = {self._text[start : self._at]}")["key"])

    def _value(self, path: KeyPath) -> None:
        sign = self._text[self._at]
        if sign == "[":
            self._array(path)
        elif sign == "{":
            self._inline(path)
        else:
            self._skip(_STRING if sign in "\"'" else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        self._skip(_BLANK)
        while self._text[self._at] != "]":
            item = (*path, number)
            self._found.setdefault(item, self._line())
            self._value(item)
            number += 1
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _inline(self, path: KeyPath) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._text[self._at] != "}":
            self._pair(path)
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        assert found is not None, "tomllib has accepted this text"
        self._at = found.end()

    def _line(self) -> int:
        return bisect_right(self._ends, self._at - 1) + 1 if self._at else 1
