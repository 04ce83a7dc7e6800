"""Rule: lists of bare names (things, or cores) are read here: one a line, or one column of a CSV with a header.

The whole list is held in memory, without what comes twice; every fault names file and line.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from asyncgg.errors import UsageError
from asyncgg.manifest.rows import printable
from asyncgg.models import invalid_name_reason

__all__ = ["display_path", "first_nonblank_line", "parse_names", "read_bytes", "read_names"]

NameKind = Literal["thing", "core"]

_COLUMNS: Final = {"thing": ("thing", "thingname"), "core": ("core", "coredevicethingname")}
_OTHER_KIND: Final[dict[NameKind, NameKind]] = {"thing": "core", "core": "thing"}
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
"""A `#` within a word belongs to it: cut there, it would leave the name of something else."""


def read_names(path: str | Path, kind: NameKind, *, reject_pairs: bool = False) -> list[str]:
    """The names in the file at `path` (`-`: standard input), each once, in their order.

    Without a delimiter in its first line it is a list: one name a line, blank lines and comments (from `#` on) left
    out, a first line that is just the column's name too. With one it is a CSV, and the column `kind` counts: a manifest
    is a list of things and of cores, unless `alone` says that pairs are not meant.

    Raises `UsageError` for what is no name, for a CSV without the column, and when there is no name at all.
    """
    return parse_names(read_bytes(path), display_path(path), kind, reject_pairs=reject_pairs)


def parse_names(data: bytes, location: str, kind: NameKind, *, reject_pairs: bool = False) -> list[str]:
    """The same of a list that was read; `where` is what messages call it."""
    lines = _decode_lines(data, location)
    head = list(_first_content_lines(lines))
    first = _strip_comment(head[-1]) if head else ""
    delimiter = next((candidate for candidate in ",;\t" if candidate in first), "")
    all_lines = chain(head, lines)
    entries = (
        _column_values(all_lines, delimiter, kind, location, reject_pairs=reject_pairs)
        if delimiter
        else _plain_lines(all_lines, kind)
    )
    names: dict[str, None] = {}
    for number, entry in entries:
        if reason := invalid_name_reason(entry):
            raise UsageError(f"{location}:{number}: `{printable(entry[:200])}` is no {kind}'s name: it {reason}")
        names[entry] = None
    if not names:
        raise UsageError(f"{location}: the list holds no names")
    return list(names)


def read_bytes(path: str | Path) -> bytes:
    """What stands at `path` (`-`: standard input), read once: it may be a pipe. Raises `UsageError`."""
    location = display_path(path)
    try:
        if str(path) == "-":
            return b"" if sys.stdin is None else sys.stdin.buffer.read()
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{location}: there is no such list") from None
    except OSError as error:
        raise UsageError(f"{location}: the list cannot be read: {error.strerror}") from None


def first_nonblank_line(data: bytes) -> str:
    """The first line that is not blank, whatever its encoding."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="replace")
    return next((line for line in lines if line.strip()), "")


def display_path(path: str | Path) -> str:
    """What messages call the list at `path`."""
    return "standard input" if str(path) == "-" else str(path)


def _decode_lines(data: bytes, location: str) -> Iterator[str]:
    try:
        yield from io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(
            f"{location}:{_undecodable_line_number(data)}: the list is not UTF-8 text: save it as UTF-8"
        ) from None


def _undecodable_line_number(data: bytes) -> int:
    """The number of the first line that is no UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return data.count(b"\n", 0, error.start) + 1
    return 1


def _first_content_lines(lines: Iterator[str]) -> Iterator[str]:
    """The lines up to the first that says something."""
    for line in lines:
        yield line
        if _strip_comment(line):
            return


def _strip_comment(line: str) -> str:
    return (_COMMENT.sub("", line.strip()) if "#" in line else line).strip()


def _plain_lines(lines: Iterable[str], kind: NameKind) -> Iterator[tuple[int, str]]:
    started = False
    for number, line in enumerate(lines, 1):
        if not (entry := _strip_comment(line)):
            continue
        if started or entry.lower() not in _COLUMNS[kind]:
            yield number, entry
        started = True


def _column_values(
    lines: Iterable[str], delimiter: str, kind: NameKind, location: str, *, reject_pairs: bool
) -> Iterator[tuple[int, str]]:
    reader = csv.reader(lines, delimiter=delimiter)
    index: int | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if index is None:
                index = _column_index(row, kind, f"{location}:{reader.line_num}", reject_pairs=reject_pairs)
                continue
            yield reader.line_num, row[index].strip() if index < len(row) else ""
    except csv.Error as error:
        raise UsageError(f"{location}:{reader.line_num}: this is no row of a CSV: {error}") from None


def _column_index(header: list[str], kind: NameKind, location: str, *, reject_pairs: bool) -> int:
    """The number of the column `kind`."""
    names = [cell.strip().lower() for cell in header]
    index = next((names.index(name) for name in _COLUMNS[kind] if name in names), None)
    if index is None:
        raise UsageError(f"{location}: no column `{kind}`: give one name a line, or such a column")
    other = _OTHER_KIND[kind]
    if reject_pairs and any(name in names for name in _COLUMNS[other]):
        raise UsageError(
            f"{location}: there is a column `{other}` too, so each row is one association and not all of a {kind}: give"
            f" the list as MANIFEST, or without that column"
        )
    return index
