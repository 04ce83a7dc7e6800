"""Parses lines of a CSV that have a common shape, many at once."""

from __future__ import annotations

import re
from typing import Final

from asyncgg.manifest import column_names
from asyncgg.manifest.rows import NAME_PATTERN, Columns, are_valid_names
from asyncgg.manifest.sources import MAX_LINE
from asyncgg.name_columns import NameColumns

_QUOTING_VARIANTS: Final = ((False, False), (True, True), (False, True), (True, False))


class PlainLines:
    """Parses lines without line breaks in cells; anything else is left to the caller."""

    def __init__(self, columns: Columns, delimiter: str) -> None:
        self._columns = columns
        self._delimiter = delimiter
        self._regexes = [_line_regex(columns, delimiter, quoted) for quoted in _QUOTING_VARIANTS]
        separators = f"{delimiter}\n".encode()
        self._no_separators = bytes(byte for byte in range(256) if byte not in separators)
        self._row_separators = delimiter.encode() * (columns.count - 1) + b"\n"
        self._header_cells = [
            re.compile(rf'{cell}(?=[\s"{re.escape(delimiter)}]|\Z)')
            for cell in ("core(?:devicethingname)?", "thing(?:name)?")
        ]
        self._thing_first = columns.thing < columns.core
        self.use_columns = False
        """Whether `split` returns columns, which requires pyarrow."""

    def _text(self, data: bytes) -> str | None:
        """The text of lines that can be parsed in a fast way; None if another column may have a header."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return None
        # With fewer columns one of the names would be a name of a column, too.
        if self._columns.count > 3:
            lower = text.lower()
            if "\ufeff" in text or all(cell.search(lower) for cell in self._header_cells):
                return None
        return text

    def split(self, data: bytes) -> list[tuple[str, str]] | NameColumns | None:
        """The pairs of a block whose lines have either no quotes or all cells quoted, else None."""
        count, width, delimiter = data.count(b"\n"), self._columns.count, self._delimiter
        if b"\r" in data and b"\r" in (data := data.replace(b"\r\n", b"\n")):
            return None
        if data.startswith(b'"') and data.endswith(b'"\n'):
            cells = data[1:-2].split(f'"{delimiter}"'.encode())
            if len(cells) != count * (width - 1) + 1:
                return None
            data = delimiter.encode().join(cells).replace(b'"\n"', b"\n") + b"\n"
        if (
            data.translate(None, self._no_separators) != self._row_separators * count
            or b'"' in data
            or b"\0" in data
            or (width > 2 and not _are_short_lines(data))
            or (text := self._text(data)) is None
        ):
            return None
        if self.use_columns and len(data) >= column_names.MIN_BLOCK:
            return column_names.split_columns(data, delimiter.encode(), self._columns)
        values = text.replace("\n", delimiter).split(delimiter)
        cores, things = (values[index:-1:width] for index in (self._columns.core, self._columns.thing))
        return list(zip(cores, things, strict=True)) if are_valid_names(cores) and are_valid_names(things) else None

    def match(self, data: bytes) -> list[tuple[str, str]] | None:
        """The pairs of a block whose lines have one common shape, else None."""
        text = self._text(data)
        if text is None:
            return None
        for index, regex in enumerate(self._regexes):
            if regex.match(text) is None:
                continue
            pairs: list[tuple[str, str]] = regex.findall(text)
            if len(pairs) != data.count(b"\n"):
                return None
            # Try this shape first for the next block.
            self._regexes.insert(0, self._regexes.pop(index))
            return [(core, thing) for thing, core in pairs] if self._thing_first else pairs
        return None

    def match_line(self, line: bytes) -> tuple[str, str] | None:
        """The pair of a line of the shape that was found last, else None."""
        text = self._text(line)
        if text is None or (found := self._regexes[0].match(text)) is None:
            return None
        first, second = found.groups()
        return (second, first) if self._thing_first else (first, second)


def _are_short_lines(data: bytes) -> bool:
    """Whether no line is longer than half of the maximum; then it is not with its quotes, either."""
    size = MAX_LINE // 4
    return all(data.find(b"\n", start, start + size) >= 0 for start in range(0, len(data) - size, size))


def _line_regex(columns: Columns, delimiter: str, quoted: tuple[bool, bool]) -> re.Pattern[str]:
    """Matches a line of the common shape. `quoted`: whether core and thing are."""
    blank = "[ ]*" if delimiter == "\t" else "[ \\t]*"
    inner = f"{blank}({NAME_PATTERN}){blank}"
    core, thing = (f'[ ]*"{inner}"' if quote else inner for quote in quoted)
    name_fields = {columns.core: core, columns.thing: thing}
    max_length = min(2000, MAX_LINE // columns.count - 300)
    if max_length < 0:
        return re.compile(r"(?!)")
    separator = re.escape(delimiter)
    other_field = f'(?:[ ]*"[^"\\r\\n\\0]{{0,{max_length}}}"|[^"{separator}\\r\\n\\0]{{0,{max_length}}})'
    fields = [name_fields.get(index, other_field) for index in range(columns.count)]
    return re.compile("^" + separator.join(fields) + "\\r?$", re.MULTILINE)
