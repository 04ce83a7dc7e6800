"""Rule: lists of bare names (things, or cores) are read here: one a line, or one column of a CSV with a header.

The whole list is held in memory, without what comes twice; every fault names file and line.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Final, Literal

from asyncgg.errors import UsageError
from asyncgg.manifest.rows import shown
from asyncgg.model import name_fault

__all__ = ["load_names"]

_COLUMNS: Final = {"thing": ("thing", "thingname"), "core": ("core", "coredevicethingname")}


def load_names(path: str | Path, kind: Literal["thing", "core"]) -> list[str]:
    """The names in the file at `path` (`-`: standard input), each once, in their order.

    Without a delimiter in its first line it is a list: one name a line, blank lines and what follows `#` left out, a
    first line that is just the column's name too. With one it is a CSV, and the column `kind` counts: a manifest is a
    list of things and of cores.

    Raises `UsageError` for what is no name, for a CSV without the column, and when there is no name at all.
    """
    where = "standard input" if str(path) == "-" else str(path)
    lines = _text(path, where).splitlines()
    first = next((line for line in lines if line.split("#", 1)[0].strip()), "")
    delimiter = next((sign for sign in ",;\t" if sign in first.split("#", 1)[0].strip()), "")
    entries = _column(lines, delimiter, kind, where) if delimiter else _bare(lines, kind)
    names: dict[str, None] = {}
    for number, entry in entries:
        if fault := name_fault(entry):
            raise UsageError(f"{where}:{number}: `{shown(entry[:200])}` is no {kind}'s name: it {fault}")
        names[entry] = None
    if not names:
        raise UsageError(f"{where}: the list holds no names")
    return list(names)


def _bare(lines: list[str], kind: str) -> list[tuple[int, str]]:
    entries = [(number, line.split("#", 1)[0].strip()) for number, line in enumerate(lines, 1)]
    entries = [(number, entry) for number, entry in entries if entry]
    if entries and entries[0][1].lower() in _COLUMNS[kind]:
        del entries[0]
    return entries


def _column(lines: list[str], delimiter: str, kind: str, where: str) -> list[tuple[int, str]]:
    reader = csv.reader(lines, delimiter=delimiter)
    place: int | None = None
    entries: list[tuple[int, str]] = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if place is None:
            names = [cell.strip().lower() for cell in row]
            place = next((names.index(name) for name in _COLUMNS[kind] if name in names), None)
            if place is None:
                raise UsageError(
                    f"{where}:{reader.line_num}: no column `{kind}`: give one name a line, or such a column"
                )
            continue
        entries.append((reader.line_num, row[place].strip() if place < len(row) else ""))
    return entries


def _text(path: str | Path, where: str) -> str:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{where}: there is no such list") from None
    except OSError as error:
        raise UsageError(f"{where}: the list cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{where}:{line}: the list is not UTF-8 text: save it as UTF-8") from None
