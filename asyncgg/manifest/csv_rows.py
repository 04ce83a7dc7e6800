"""Rule: what a CSV manifest means lives here: header, delimiter, quotes, rows, their faults; bytes come from outside.

Whole blocks whose every line has the common shape are taken by one regular expression. All else goes row by row
through the csv module, which decides what a row is; both ways give the same pairs (held by tests).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from typing import Final

from asyncgg.errors import ManifestError
from asyncgg.manifest.lines import MAX_LINE, Block, blocks
from asyncgg.manifest.rows import NAME, BadRow, Chunk, Columns, find_columns, row_fault, shown

__all__ = ["csv_chunks"]

_BLANKS: Final = " \t\xa0"
_QUOTED: Final = ((False, False), (True, True), (False, True), (True, False))
_UNCLOSED: Final = "a quote opens here and is not closed"
_TOO_LONG: Final = f"is longer than {MAX_LINE} bytes"


def csv_chunks(name: str, read: Callable[[int], bytes]) -> Iterator[Chunk]:
    """Read the CSV that `read` gives, as chunks of checked rows.

    Raises `ManifestError` for a header that does not name the two columns. A file without any row yields nothing.
    """
    rows: _Rows | None = None
    for block in blocks(read):
        if rows is None:
            block = _without_blank_lines(block)
            if not block.data:
                continue
            rows = _open(name, block)
            block = _after_header(block)
        yield rows.take(block)
    if rows is not None:
        yield rows.finish()


def _without_blank_lines(block: Block) -> Block:
    rest = block.data.lstrip(b" \t\r\n")
    start = block.data.rfind(b"\n", 0, len(block.data) - len(rest)) + 1
    return Block(block.first + block.data.count(b"\n", 0, start), block.data[start:] if rest else b"", block.long)


def _after_header(block: Block) -> Block:
    return Block(block.first + 1, block.data[block.data.find(b"\n") + 1 :])


def _open(name: str, block: Block) -> _Rows:
    """Read the header: the first line that is not blank."""
    where = f"{name}:{block.first}"
    line = block.data.split(b"\n", 1)[0].rstrip(b"\r")
    wanted = "the first line must name the columns `core` and `thing` (or `coreDeviceThingName`, `thingName`)"
    if block.long or len(line) > MAX_LINE:
        raise ManifestError(f"{where}: the first line {_TOO_LONG}, this is no CSV manifest: {wanted}")
    if b"\r" in line:
        raise ManifestError(f"{where}: lines end with bare carriage returns: save the file with LF or CRLF line ends")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ManifestError(f"{where}: the header is not UTF-8 text: save the manifest as CSV in UTF-8")
    for delimiter in ",;\t":
        try:
            fields = next(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error:  # quoted for another delimiter, perhaps
            continue
        columns = find_columns(where, fields)
        if columns is not None:
            return _Rows(name, columns, delimiter)
    raise ManifestError(f"{where}: the header `{shown(text[:200])}` lacks a column: {wanted}")


class _More(Exception):  # noqa: N818 - a signal out of the csv reader, not an error
    """The row goes on in lines that are not here yet."""


class _Unclosed(Exception):  # noqa: N818 - a signal out of the csv reader, not an error
    """The row goes on where it may not."""


class _Rows:
    """The rows of one CSV, block after block; a row that is open at a block's end waits for the next block."""

    def __init__(self, name: str, columns: Columns, delimiter: str) -> None:
        self._name = name
        self._columns = columns
        self._delimiter = delimiter
        self._shapes = [_shape(columns, delimiter, quoted) for quoted in _QUOTED]
        self._swapped = columns.thing < columns.core
        self._open: list[bytes] = []
        self._open_first = 0
        # Up to this line rows are one line each: a quote in front of them proved to be a stray one.
        self._single_until = 0
        blank = "[ ]+" if delimiter == "\t" else "[ \\t]+"
        self._blank_after_quote = re.compile(f'"{blank}(?=[{re.escape(delimiter)}\\r\\n]|\\Z)')

    def take(self, block: Block) -> Chunk:
        """Read one more block."""
        if block.long:
            chunk = self.finish()
            chunk.bad.append(BadRow(self._name, block.first, _TOO_LONG, shown(block.data)))
            return chunk
        if not self._open and (pairs := self._all_common(block.data)) is not None:
            return Chunk(good=pairs)
        lines = block.data.split(b"\n")
        lines.pop()  # what follows the last line feed: nothing
        first = block.first
        if self._open:
            lines, first, self._open = self._open + lines, self._open_first, []
        return self._each(first, lines, last=False)

    def finish(self) -> Chunk:
        """Read what was left open; nothing follows it."""
        lines, self._open = self._open, []
        return self._each(self._open_first, lines, last=True)

    def _all_common(self, data: bytes) -> list[tuple[str, str]] | None:
        """The pairs of a block whose lines all have one common shape, else None."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return None
        count = data.count(b"\n")
        for index, shape in enumerate(self._shapes):
            if shape.match(text) is None:
                continue
            pairs: list[tuple[str, str]] = shape.findall(text)
            if len(pairs) != count:
                return None
            self._shapes.insert(0, self._shapes.pop(index))  # the next block will look like this one
            return [(core, thing) for thing, core in pairs] if self._swapped else pairs
        return None

    def _each(self, first: int, lines: list[bytes], *, last: bool) -> Chunk:
        chunk = Chunk()
        at = 0
        while at < len(lines):
            line = lines[at]
            if len(line) > MAX_LINE:
                self._reject(chunk, first + at, _TOO_LONG, line)
            elif line.strip(b" \t\r"):
                try:
                    used = self._row(chunk, first + at, lines, at, last=last)
                except _More:
                    self._open, self._open_first = lines[at:], first + at
                    break
                at += used
                continue
            at += 1
        return chunk

    def _row(self, chunk: Chunk, number: int, lines: list[bytes], at: int, *, last: bool) -> int:
        """Read the row that starts at `lines[at]` into `chunk`; returns how many lines it took."""
        try:
            common = self._shapes[0].match(lines[at].decode("utf-8"))
        except UnicodeDecodeError:
            common = None
        if common is not None:
            one, two = common.groups()
            chunk.good.append((two, one) if self._swapped else (one, two))
            return 1
        used = 0

        def feed() -> Iterator[str]:
            nonlocal used
            size = 0
            for line in lines[at : at + 1] if number <= self._single_until else _from(lines, at):
                size += len(line) + 1
                if used and size > MAX_LINE:
                    raise _Unclosed
                used += 1
                yield line.decode("utf-8", "surrogateescape") + "\n"
            if number <= self._single_until or last:
                raise _Unclosed
            raise _More

        fields, reason = self._fields(feed())
        if fields is not None:
            raw = b"\n".join(lines[at : at + used])
            reason = self._fault(raw, fields)
            if reason is None:
                chunk.good.append((self._value(fields, self._columns.core), self._value(fields, self._columns.thing)))
                return used
            if used == 1 or not self._breaks(fields):
                self._reject(chunk, number, reason, raw)
                return used
            reason = "a quoted name holds a line break"
        # A stray quote: only its own line is bad, and the lines it swallowed are rows again.
        self._single_until = max(self._single_until, number + used - 1)
        if fields is None and used == 1 and (again := self._trimmed(lines[at])) is not None:
            lines[at] = again
            return 0
        self._reject(chunk, number, reason or _UNCLOSED, lines[at])
        return 1

    def _fields(self, feed: Iterator[str]) -> tuple[list[str] | None, str | None]:
        try:
            return next(csv.reader(feed, delimiter=self._delimiter, strict=True, skipinitialspace=True)), None
        except _Unclosed:
            return None, _UNCLOSED
        except csv.Error as error:
            return None, _csv_reason(str(error))

    def _trimmed(self, line: bytes) -> bytes | None:
        """The line without blanks between a closing quote and the delimiter, or None when there are none."""
        text = line.decode("utf-8", "surrogateescape")
        again = self._blank_after_quote.sub('"', text)
        return None if again == text else again.encode("utf-8", "surrogateescape")

    def _value(self, fields: list[str], column: int) -> str:
        return fields[column].strip(_BLANKS)

    def _breaks(self, fields: list[str]) -> bool:
        return any("\n" in fields[at] for at in (self._columns.core, self._columns.thing) if at < len(fields))

    def _fault(self, raw: bytes, fields: list[str]) -> str | None:
        columns = self._columns
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return "is not UTF-8"
        if b"\0" in raw:
            return "holds a NUL byte"
        for column, at in (("core", columns.core), ("thing", columns.thing)):
            if at >= len(fields):
                return f"column `{column}` is missing"
        if columns.shifted(fields):
            return f"has {len(fields)} columns, the header has {columns.count}"
        return row_fault(self._value(fields, columns.core), self._value(fields, columns.thing))

    def _reject(self, chunk: Chunk, number: int, reason: str, raw: bytes) -> None:
        chunk.bad.append(BadRow(self._name, number, reason, shown(raw.rstrip(b"\r"))))


def _from(lines: list[bytes], at: int) -> Iterator[bytes]:
    for index in range(at, len(lines)):
        yield lines[index]


def _csv_reason(error: str) -> str:
    if "expected after" in error:
        return "text stands after a closing quote"
    if "new-line" in error:
        return "holds a bare carriage return"
    return f"is not CSV ({error})"


def _shape(columns: Columns, delimiter: str, quoted: tuple[bool, bool]) -> re.Pattern[str]:
    """What a whole common line looks like with core and thing `quoted` or not; further columns either way."""
    blank = "[ ]*" if delimiter == "\t" else "[ \\t]*"
    inner = f"{blank}({NAME}){blank}"
    core, thing = (f'[ ]*"{inner}"' if quote else inner for quote in quoted)
    wanted = {columns.core: core, columns.thing: thing}
    most = min(2000, MAX_LINE // columns.count - 300)
    if most < 0:
        return re.compile(r"(?!)")
    cut = re.escape(delimiter)
    further = f'(?:[ ]*"[^"\\r\\n\\0]{{0,{most}}}"|[^"{cut}\\r\\n\\0]{{0,{most}}})'
    parts = [wanted.get(at, further) for at in range(columns.count)]
    return re.compile("^" + cut.join(parts) + "\\r?$", re.MULTILINE)
