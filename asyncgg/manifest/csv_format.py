"""Parses CSV manifests."""

# A block of plain lines is split as a whole. Another one is cut into parts, and these into small
# parts, so that a bad row costs little: each is split as a whole, or by one regular expression, or
# goes row by row through the csv module. All ways give the same rows (test_csv_format_invariants.py).

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from typing import Final

from asyncgg.errors import ManifestError
from asyncgg.manifest import column_names
from asyncgg.manifest.csv_lines import PlainLines
from asyncgg.manifest.rows import (
    BadRow,
    Chunk,
    Columns,
    column_of,
    find_columns,
    normalize_header,
    printable,
)
from asyncgg.manifest.sources import BOM, MAX_LINE, SEPARATOR_LINE, Block, blocks, parts
from asyncgg.name_columns import NameColumns

_PART_SIZE: Final = 16 * 1024
"""Bytes of a part, some hundred rows."""

_SMALL_PART_SIZE: Final = 1024
"""Bytes of a part of a part with a bad row, so that some dozen rows go row by row."""

_BLANKS: Final = " \t\xa0"
_UNCLOSED_REASON: Final = "has an unclosed quote"
_TOO_LONG_REASON: Final = f"is longer than {MAX_LINE} bytes"


def csv_chunks(name: str, read: Callable[[int], bytes]) -> Iterator[Chunk]:
    """Parse the CSV that `read` returns into chunks of validated rows.

    Raises `ManifestError` if the header does not name the two columns. A file without rows yields
    nothing.
    """
    parser: _CsvParser | None = None
    for block in blocks(read):
        if parser is None:
            block = _without_blank_lines(block)
            if SEPARATOR_LINE.match(block.data.split(b"\n", 1)[0]):
                block = _without_blank_lines(_after_header(block))
            if not block.data:
                continue
            parser = _parse_header(name, block)
            block = _after_header(block)
        yield from parser.feed(block)
    if parser is not None:
        yield parser.finish()


def _without_blank_lines(block: Block) -> Block:
    rest = block.data.lstrip(b" \t\r\n")
    start = block.data.rfind(b"\n", 0, len(block.data) - len(rest)) + 1
    return Block(
        block.first_line + block.data.count(b"\n", 0, start), block.data[start:] if rest else b"", block.too_long
    )


def _after_header(block: Block) -> Block:
    return Block(block.first_line + 1, block.data[block.data.find(b"\n") + 1 :])


def _parse_header(name: str, block: Block) -> _CsvParser:
    """Parse the header: the first line that is not blank."""
    location = f"{name}:{block.first_line}"
    line = block.data.split(b"\n", 1)[0].rstrip(b"\r")
    expected = "the first line must name the columns `core` and `thing` (or `coreDeviceThingName`, `thingName`)"
    if block.too_long or len(line) > MAX_LINE:
        raise ManifestError(f"{location}: not a CSV manifest, the first line {_TOO_LONG_REASON}; {expected}")
    if b"\r" in line:
        raise ManifestError(
            f"{location}: the lines end with bare carriage returns; save the file with LF or CRLF line ends"
        )
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ManifestError(f"{location}: the header is not UTF-8 text; save the manifest as CSV in UTF-8")
    for delimiter in ",;\t":
        try:
            fields = next(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error:  # may be quoted for another delimiter
            continue
        columns = find_columns(location, fields)
        if columns is not None:
            return _CsvParser(name, columns, fields, delimiter)
    raise ManifestError(f"{location}: the header `{printable(text[:200])}` lacks a column; {expected}")


class _RowContinues(Exception):  # noqa: N818 - control flow through the csv reader, not an error
    """The row continues in the next block."""


class _UnclosedQuote(Exception):  # noqa: N818 - control flow through the csv reader, not an error
    """The row continues where it must end."""


class _CsvParser:
    """Parses one CSV block by block; a row cut off at the end waits for the next block."""

    def __init__(self, name: str, columns: Columns, header: list[str], delimiter: str) -> None:
        self._name = name
        self._columns = columns
        self._header = list(map(normalize_header, header))
        self._delimiter = delimiter
        self._plain = PlainLines(columns, delimiter)
        self._pending_lines: list[bytes] = []
        self._pending_line_number = 0
        # Up to this line each row is one line: the quote in front of them was a stray one.
        self._single_line_until = 0
        self._size = 0
        blank = "[ ]+" if delimiter == "\t" else "[ \\t]+"
        self._blank_after_quote = re.compile(f'"{blank}(?=[{re.escape(delimiter)}\\r\\n]|\\Z)')

    def feed(self, block: Block) -> Iterator[Chunk]:
        """Parse one block."""
        is_small = self._size < column_names.MIN_SIZE
        self._size += len(block.data)
        if is_small and self._size >= column_names.MIN_SIZE:
            self._plain.use_columns = column_names.is_available()
        if block.too_long:
            chunk = self.finish()
            chunk.bad.append(BadRow(self._name, block.first_line, _TOO_LONG_REASON, printable(block.data)))
            yield chunk
        elif (pairs := self._split(block)) is not None:
            yield Chunk(good=pairs)
        else:
            for part in parts(block, _PART_SIZE):
                yield from self._feed_part(part)

    def _split(self, block: Block) -> list[tuple[str, str]] | NameColumns | None:
        """The pairs of a block of plain lines that does not continue a row, else None."""
        return None if self._pending_lines else self._plain.split(block.data)

    def _match(self, block: Block) -> list[tuple[str, str]] | None:
        return None if self._pending_lines else self._plain.match(block.data)

    def _feed_part(self, part: Block) -> Iterator[Chunk]:
        if (pairs := self._split(part)) is None and (pairs := self._match(part)) is None:
            for small_part in parts(part, _SMALL_PART_SIZE):
                pairs = self._split(small_part)
                yield self._parse_part(small_part) if pairs is None else Chunk(good=pairs)
        else:
            yield Chunk(good=pairs)

    def _parse_part(self, block: Block) -> Chunk:
        lines = block.data.split(b"\n")
        lines.pop()  # empty: the block ends with a line feed
        first = block.first_line
        if self._pending_lines:
            lines, first, self._pending_lines = self._pending_lines + lines, self._pending_line_number, []
        return self._parse_block(first, lines, last=False)

    def finish(self) -> Chunk:
        """Parse the pending lines at the end of the file."""
        lines, self._pending_lines = self._pending_lines, []
        return self._parse_block(self._pending_line_number, lines, last=True)

    def _parse_block(self, first: int, lines: list[bytes], *, last: bool) -> Chunk:
        chunk = Chunk()
        index = 0
        while index < len(lines):
            line = lines[index]
            if len(line) > MAX_LINE:
                self._reject(chunk, first + index, _TOO_LONG_REASON, line)
            elif line.strip(b" \t\r"):
                try:
                    line_count = self._parse_row(chunk, first + index, lines, index, last=last)
                except _RowContinues:
                    self._pending_lines, self._pending_line_number = lines[index:], first + index
                    break
                index += line_count
                continue
            index += 1
        return chunk

    def _parse_row(self, chunk: Chunk, number: int, lines: list[bytes], index: int, *, last: bool) -> int:
        """Parse the row at `lines[index]` into `chunk`; returns the number of its lines."""
        lines[index] = lines[index].removeprefix(BOM)
        if (pair := self._plain.match_line(lines[index])) is not None:
            chunk.add_pair(pair)
            return 1
        if SEPARATOR_LINE.match(lines[index]):
            return 1
        line_count = 0

        def row_lines() -> Iterator[str]:
            nonlocal line_count
            size = 0
            for line in lines[index : index + 1] if number <= self._single_line_until else _lines_from(lines, index):
                size += len(line) + 1
                if line_count and size > MAX_LINE:
                    raise _UnclosedQuote
                line_count += 1
                yield line.decode("utf-8", "surrogateescape") + "\n"
            if number <= self._single_line_until or last:
                raise _UnclosedQuote
            raise _RowContinues

        fields, reason = self._split_fields(row_lines())
        if fields is not None:
            raw = b"\n".join(lines[index : index + line_count])
            reason = self._row_problem(raw, fields)
            if reason is None:
                core, thing = (fields[index].strip(_BLANKS) for index in (self._columns.core, self._columns.thing))
                reason = chunk.add_row(number, core, thing)
            if reason is None:
                return line_count
            if line_count == 1 or not self._has_line_break(fields):
                self._reject(chunk, number, reason, raw)
                return line_count
            reason = "has a line break in a quoted name"
        # A stray quote: only its own line is bad. The lines it swallowed are parsed again.
        self._single_line_until = max(self._single_line_until, number + line_count - 1)
        if fields is None and line_count == 1 and (cleaned := self._strip_after_quotes(lines[index])) is not None:
            lines[index] = cleaned
            return 0
        self._reject(chunk, number, reason or _UNCLOSED_REASON, lines[index])
        return 1

    def _split_fields(self, lines: Iterator[str]) -> tuple[list[str] | None, str | None]:
        try:
            return next(csv.reader(lines, delimiter=self._delimiter, strict=True, skipinitialspace=True)), None
        except _UnclosedQuote:
            return None, _UNCLOSED_REASON
        except csv.Error as error:
            return None, _csv_reason(str(error))

    def _strip_after_quotes(self, line: bytes) -> bytes | None:
        """The line without blanks between closing quote and delimiter, or None without any."""
        text = line.decode("utf-8", "surrogateescape")
        cleaned = self._blank_after_quote.sub('"', text)
        return None if cleaned == text else cleaned.encode("utf-8", "surrogateescape")

    def _has_line_break(self, fields: list[str]) -> bool:
        return any("\n" in fields[index] for index in (self._columns.core, self._columns.thing) if index < len(fields))

    def _row_problem(self, raw: bytes, fields: list[str]) -> str | None:
        columns = self._columns
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return "is not UTF-8"
        if b"\0" in raw:
            return "contains a NUL byte"
        if reason := self._misplaced_header(fields):
            return reason
        for column, index in (("core", columns.core), ("thing", columns.thing)):
            if index >= len(fields):
                return f"column `{column}` is missing"
        if columns.may_be_shifted(fields):
            return f"has {len(fields)} columns, the header has {columns.count}"
        return None

    def _misplaced_header(self, fields: list[str]) -> str | None:
        """Why a header of another file does not repeat this one, for files that were put together."""
        cells = list(map(normalize_header, fields))
        last = self._columns.count - 1
        if cells[last + 1 :] == self._header[1:] and cells[last].endswith(self._header[0]):
            return "ends with a header: the file before it has no line feed at its end"
        kinds = list(map(column_of, fields))
        if {"core", "thing"} <= set(kinds) and [kinds.index("core"), kinds.index("thing")] != [
            self._columns.core,
            self._columns.thing,
        ]:
            return "is a header with other columns than the first one; keep the files apart"
        return None

    def _reject(self, chunk: Chunk, number: int, reason: str, raw: bytes) -> None:
        chunk.bad.append(BadRow(self._name, number, reason, printable(raw.rstrip(b"\r"))))


def _lines_from(lines: list[bytes], start: int) -> Iterator[bytes]:
    for index in range(start, len(lines)):
        yield lines[index]


def _csv_reason(error: str) -> str:
    if "expected after" in error:
        return "has text after a closing quote"
    if "new-line" in error:
        return "contains a bare carriage return"
    return f"is not CSV ({error})"
