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
from asyncgg.manifest.rows import shown
from asyncgg.model import invalid_name_reason

__all__ = ["first_line", "load_names", "names_in", "read_list", "shown_path"]

Kind = Literal["thing", "core"]

_COLUMNS: Final = {"thing": ("thing", "thingname"), "core": ("core", "coredevicethingname")}
_OTHER: Final[dict[Kind, Kind]] = {"thing": "core", "core": "thing"}
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
"""A `#` within a word belongs to it: cut there, it would leave the name of something else."""


def load_names(path: str | Path, kind: Kind, *, alone: bool = False) -> list[str]:
    """The names in the file at `path` (`-`: standard input), each once, in their order.

    Without a delimiter in its first line it is a list: one name a line, blank lines and comments (from `#` on) left
    out, a first line that is just the column's name too. With one it is a CSV, and the column `kind` counts: a manifest
    is a list of things and of cores, unless `alone` says that pairs are not meant.

    Raises `UsageError` for what is no name, for a CSV without the column, and when there is no name at all.
    """
    return names_in(read_list(path), shown_path(path), kind, alone=alone)


def names_in(data: bytes, where: str, kind: Kind, *, alone: bool = False) -> list[str]:
    """The same of a list that was read; `where` is what messages call it."""
    lines = _lines(data, where)
    head = list(_until_first(lines))
    first = _uncommented(head[-1]) if head else ""
    delimiter = next((sign for sign in ",;\t" if sign in first), "")
    every = chain(head, lines)
    entries = _column(every, delimiter, kind, where, alone=alone) if delimiter else _bare(every, kind)
    names: dict[str, None] = {}
    for number, entry in entries:
        if fault := invalid_name_reason(entry):
            raise UsageError(f"{where}:{number}: `{shown(entry[:200])}` is no {kind}'s name: it {fault}")
        names[entry] = None
    if not names:
        raise UsageError(f"{where}: the list holds no names")
    return list(names)


def read_list(path: str | Path) -> bytes:
    """What stands at `path` (`-`: standard input), read once: it may be a pipe. Raises `UsageError`."""
    where = shown_path(path)
    try:
        if str(path) == "-":
            return b"" if sys.stdin is None else sys.stdin.buffer.read()
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{where}: there is no such list") from None
    except OSError as error:
        raise UsageError(f"{where}: the list cannot be read: {error.strerror}") from None


def first_line(data: bytes) -> str:
    """The first line that is not blank, whatever its encoding."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="replace")
    return next((line for line in lines if line.strip()), "")


def shown_path(path: str | Path) -> str:
    """What messages call the list at `path`."""
    return "standard input" if str(path) == "-" else str(path)


def _lines(data: bytes, where: str) -> Iterator[str]:
    try:
        yield from io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{where}:{_bad_line(data)}: the list is not UTF-8 text: save it as UTF-8") from None


def _bad_line(data: bytes) -> int:
    """The number of the first line that is no UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return data.count(b"\n", 0, error.start) + 1
    return 1


def _until_first(lines: Iterator[str]) -> Iterator[str]:
    """The lines up to the first that says something."""
    for line in lines:
        yield line
        if _uncommented(line):
            return


def _uncommented(line: str) -> str:
    return (_COMMENT.sub("", line.strip()) if "#" in line else line).strip()


def _bare(lines: Iterable[str], kind: Kind) -> Iterator[tuple[int, str]]:
    begun = False
    for number, line in enumerate(lines, 1):
        if not (entry := _uncommented(line)):
            continue
        if begun or entry.lower() not in _COLUMNS[kind]:
            yield number, entry
        begun = True


def _column(lines: Iterable[str], delimiter: str, kind: Kind, where: str, *, alone: bool) -> Iterator[tuple[int, str]]:
    reader = csv.reader(lines, delimiter=delimiter)
    place: int | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if place is None:
                place = _place(row, kind, f"{where}:{reader.line_num}", alone=alone)
                continue
            yield reader.line_num, row[place].strip() if place < len(row) else ""
    except csv.Error as error:
        raise UsageError(f"{where}:{reader.line_num}: this is no row of a CSV: {error}") from None


def _place(header: list[str], kind: Kind, where: str, *, alone: bool) -> int:
    """The number of the column `kind`."""
    names = [cell.strip().lower() for cell in header]
    place = next((names.index(name) for name in _COLUMNS[kind] if name in names), None)
    if place is None:
        raise UsageError(f"{where}: no column `{kind}`: give one name a line, or such a column")
    other = _OTHER[kind]
    if alone and any(name in names for name in _COLUMNS[other]):
        raise UsageError(
            f"{where}: there is a column `{other}` too, so each row is one association and not all of a {kind}: give"
            f" the list as MANIFEST, or without that column"
        )
    return place
