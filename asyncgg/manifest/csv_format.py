"""Parses CSV manifests."""

# A block of plain lines is split as a whole. In another one a regular expression finds the runs of
# plain lines, and each other row goes through the csv module. If that row is valid, it is written as a
# plain line, so that the rows keep their order. All ways give the same rows (test_csv_format_invariants.py).

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from itertools import chain
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
from asyncgg.manifest.sources import MAX_LINE, SEPARATOR_LINE, Block, blocks

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
        yield parser.feed(block)
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
        self._pending = ""
        self._pending_line_number = 0
        # Up to this line each row is one line: the quote in front of them was a stray one.
        self._single_line_until = 0
        self._size = 0
        blank = "[ ]+" if delimiter == "\t" else "[ \\t]+"
        self._blank_after_quote = re.compile(f'"{blank}(?=[{re.escape(delimiter)}\\r\\n]|\\Z)')

    def feed(self, block: Block) -> Chunk:
        """Parse one block."""
        is_small = self._size < column_names.MIN_SIZE
        self._size += len(block.data)
        if is_small and self._size >= column_names.MIN_SIZE:
            self._plain.use_columns = column_names.is_available()
        if block.too_long:
            chunk = self.finish()
            chunk.bad.append(BadRow(self._name, block.first_line, _TOO_LONG_REASON, printable(block.data)))
            return chunk
        if self._pending:
            text, self._pending = self._pending + _decode(block.data), ""
            return self._parse(self._pending_line_number, text)
        if (pairs := self._plain.split(block.data)) is not None:
            return Chunk(good=pairs)
        return self._parse(block.first_line, _decode(block.data))

    def finish(self) -> Chunk:
        """Parse the pending lines at the end of the file."""
        text, self._pending = self._pending, ""
        return self._parse(self._pending_line_number, text, last=True)

    def _parse(self, number: int, text: str, *, last: bool = False) -> Chunk:
        """Parse the lines of `text`, the first of which has the given number."""
        plain: list[str] = []
        bad: list[BadRow] = []
        headers: list[int] = []
        start = 0
        while start < len(text):
            end = self._plain.end_of_run(text, start)
            if end > start:
                plain.append(text[start:end])
            else:
                row = Chunk()
                try:
                    end = self._parse_row(row, number, text, start, last=last)
                except _RowContinues:
                    self._pending, self._pending_line_number = text[start:], number
                    break
                plain += [self._plain.format(*pair) for pair in row.good]
                bad += row.bad
                headers += row.headers
            number += text.count("\n", start, end)
            start = end
        return Chunk(self._plain.parse("".join(plain)), bad, headers)

    def _parse_row(self, result: Chunk, number: int, text: str, start: int, *, last: bool) -> int:
        """Parse the row that begins at `start` into `result`; returns where it ends."""
        end = text.index("\n", start) + 1
        line = text[start:end]
        raw = _encode(line)
        if len(raw) > MAX_LINE:
            self._reject(result, number, _TOO_LONG_REASON, raw)
            return end
        if not raw.strip(b" \t\r"):
            return end
        line = line.removeprefix("\ufeff")
        if SEPARATOR_LINE.match(_encode(line)):
            return end
        is_single_line = number <= self._single_line_until
        lines: list[str] = []

        def row_lines() -> Iterator[str]:
            size = 0
            for row_line in (line,) if is_single_line else chain((line,), _lines_from(text, end)):
                size += len(row_line.encode("utf-8", "surrogateescape"))
                if lines and size > MAX_LINE:
                    raise _UnclosedQuote
                lines.append(row_line)
                yield row_line
            if is_single_line or last:
                raise _UnclosedQuote
            raise _RowContinues

        fields, reason = self._split_fields(row_lines())
        if fields is not None:
            raw = _encode("".join(lines))
            reason = self._row_problem(raw, fields)
            if reason is None:
                core, thing = (fields[index].strip(_BLANKS) for index in (self._columns.core, self._columns.thing))
                reason = result.add_row(number, core, thing)
            row_end = end + sum(map(len, lines[1:]))
            if reason is None:
                return row_end
            if len(lines) == 1 or not self._has_line_break(fields):
                self._reject(result, number, reason, raw)
                return row_end
            reason = "has a line break in a quoted name"
        # A stray quote: only its own line is bad. The lines it swallowed are parsed again.
        self._single_line_until = max(self._single_line_until, number + len(lines) - 1)
        if fields is None and len(lines) == 1 and (cleaned := self._blank_after_quote.sub('"', line)) != line:
            self._parse_row(result, number, cleaned, 0, last=last)
        else:
            self._reject(result, number, reason or _UNCLOSED_REASON, _encode(line))
        return end

    def _split_fields(self, lines: Iterator[str]) -> tuple[list[str] | None, str | None]:
        try:
            return next(csv.reader(lines, delimiter=self._delimiter, strict=True, skipinitialspace=True)), None
        except _UnclosedQuote:
            return None, _UNCLOSED_REASON
        except csv.Error as error:
            return None, _csv_reason(str(error))

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


def _lines_from(text: str, start: int) -> Iterator[str]:
    while start < len(text):
        end = text.index("\n", start) + 1
        yield text[start:end]
        start = end


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    """The bytes of lines, without the last line feed."""
    return text[:-1].encode("utf-8", "surrogateescape")


def _csv_reason(error: str) -> str:
    if "expected after" in error:
        return "has text after a closing quote"
    if "new-line" in error:
        return "contains a bare carriage return"
    return f"is not CSV ({error})"
