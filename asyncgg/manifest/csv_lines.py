"""Parses lines of a CSV that have a common shape, many at once."""

from __future__ import annotations

import re
from typing import Final

from asyncgg.manifest import column_names
from asyncgg.manifest.rows import COLUMN_NAME_PATTERN, NAME_PATTERN, Columns, are_valid_names
from asyncgg.manifest.sources import MAX_LINE
from asyncgg.name_columns import NameColumns

_MAX_CELL: Final = 2000
"""Maximum characters of a cell that is not a name."""

_NOT_PLAIN: Final = r"\r\n\0\ufeff\udc80-\udcff"
"""Characters of no plain line. The last ones are bytes that are not UTF-8."""


class PlainLines:
    """Parses lines without line breaks in cells; anything else is left to the caller."""

    def __init__(self, columns: Columns, delimiter: str) -> None:
        self._columns = columns
        self._delimiter = delimiter.encode()
        self._run = re.compile(_run_pattern(columns, delimiter))
        separators = self._delimiter + b"\n"
        self._no_separators = bytes(byte for byte in range(256) if byte not in separators)
        self._blanks = bytes(byte for byte in b" \t\r" if byte not in separators)
        self._row_separators = self._delimiter * (columns.count - 1) + b"\n"
        self._header_cells = [
            re.compile(rf'{cell}(?=[\s"{re.escape(delimiter)}]|\Z)'.encode())
            for cell in ("core(?:devicethingname)?", "thing(?:name)?")
        ]
        self.use_columns = False
        """Whether names become columns, which requires pyarrow."""

    def split(self, data: bytes) -> list[tuple[str, str]] | NameColumns | None:
        """The pairs of a block of plain lines without blanks around cells, else None."""
        count, width, delimiter = data.count(b"\n"), self._columns.count, self._delimiter
        if b"\r" in data and b"\r" in (data := data.replace(b"\r\n", b"\n")):
            return None
        if b"\0" in data or (width > 2 and not _are_short_lines(data)):
            return None
        if b'"' in data:
            pieces = data.split(b'"')
            if not _are_quoted_cells(pieces, delimiter):
                return None
            data = _without_quotes(pieces, delimiter)
        if data.translate(
            None, self._no_separators
        ) != self._row_separators * count or not self._is_text_without_header(data):
            return None
        if self._as_columns(data):
            return column_names.valid_columns(*column_names.split_names(data, delimiter, self._columns))
        cores, things = self._split_names(data)
        return list(zip(cores, things, strict=True)) if are_valid_names(cores) and are_valid_names(things) else None

    def end_of_run(self, text: str, start: int) -> int:
        """Where the plain lines of `text` end that begin at `start`; `start` if it is not a plain line."""
        found = self._run.match(text, start)
        assert found is not None, "no line matches, too"
        return found.end()

    def format(self, core: str, thing: str) -> str:
        """A plain line with two valid names."""
        cells = [""] * self._columns.count
        cells[self._columns.core], cells[self._columns.thing] = core, thing
        return self._delimiter.decode().join(cells) + "\n"

    def parse(self, text: str) -> list[tuple[str, str]] | NameColumns:
        """The pairs of lines that `end_of_run` found or `format` made."""
        data = text.encode()
        if b'"' in data:
            data = _without_quotes(data.split(b'"'), self._delimiter)
        data = data.translate(None, self._blanks)
        if self._as_columns(data):
            return NameColumns(*column_names.split_names(data, self._delimiter, self._columns))
        return list(zip(*self._split_names(data), strict=True))

    def _as_columns(self, data: bytes) -> bool:
        return self.use_columns and len(data) >= column_names.MIN_BLOCK

    def _split_names(self, data: bytes) -> tuple[list[str], list[str]]:
        delimiter, columns = self._delimiter.decode(), self._columns
        values = data.decode().replace("\n", delimiter).split(delimiter)
        return values[columns.core : -1 : columns.count], values[columns.thing : -1 : columns.count]

    def _is_text_without_header(self, data: bytes) -> bool:
        """Whether `data` is UTF-8, and no cells besides the names can be those of a header."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return False
        if self._columns.count <= 3:  # one of the names would be a name of a column, too
            return True
        lower = data.lower()
        return "\ufeff" not in text and not all(cell.search(lower) for cell in self._header_cells)


def _are_quoted_cells(pieces: list[bytes], delimiter: bytes) -> bool:
    """Whether every second one of `pieces`, lines split at quotes, is a whole cell on one line."""
    count = len(pieces) // 2
    outside = b"\n" + b"\0".join(pieces[::2])  # a NUL for each cell
    return (
        len(pieces) % 2 == 1
        and outside.count(delimiter + b"\0") + outside.count(b"\n\0") == count
        and outside.count(b"\0" + delimiter) + outside.count(b"\0\n") == count
        and b"\n".join(pieces[1::2]).count(b"\n") == count - 1
    )


def _without_quotes(pieces: list[bytes], delimiter: bytes) -> bytes:
    """Lines split at quotes, put together without them; a delimiter within a cell becomes a character of no name."""
    pieces[1::2] = b"\n".join(pieces[1::2]).replace(delimiter, b"|").split(b"\n")
    return b"".join(pieces)


def _are_short_lines(data: bytes) -> bool:
    """Whether no line is longer than half of the maximum."""
    size = MAX_LINE // 4
    return all(data.find(b"\n", start, start + size) >= 0 for start in range(0, len(data) - size, size))


def _run_pattern(columns: Columns, delimiter: str) -> str:
    """Matches any number of plain lines: the names are valid, and no cell can be that of a header."""
    separator = re.escape(delimiter)
    space = "[ ]{0,30}+"  # so that blanks do not make a line too long, either
    blank = space if delimiter == "\t" else "[ \\t]{0,30}+"
    max_length = min(_MAX_CELL, (MAX_LINE // columns.count - 300) // 4)  # of characters of up to 4 bytes
    if max_length < 0:
        return ""
    name = f"{blank}{NAME_PATTERN}{blank}"
    name = f'(?:{space}"{name}"|{name})'
    text = f'[^"{_NOT_PLAIN}]'
    cell = (
        rf'(?!\s*+"?\s*+(?i:{COLUMN_NAME_PATTERN})[\s"{separator}])'
        rf'(?:{space}"{text}{{0,{max_length // 2}}}+(?:""{text}{{0,{max_length // 20}}}+){{0,10}}+"'
        rf'|[^"{separator}{_NOT_PLAIN}]{{0,{max_length}}}+)'
    )
    line = separator.join(name if index in (columns.core, columns.thing) else cell for index in range(columns.count))
    return rf"(?:{line}\r?+\n)*+"
