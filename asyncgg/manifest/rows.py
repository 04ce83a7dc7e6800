"""Rows of a manifest: columns, validation, printable excerpts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncgg.errors import ManifestError
from asyncgg.models import MAX_NAME_LENGTH, invalid_name_reason
from asyncgg.name_columns import NameColumns

COLUMN_NAME_PATTERN: Final = "core(?:devicethingname)?|thing(?:name)?"
"""A name of a column, in any case."""

NAME_PATTERN: Final = rf"(?!(?i:{COLUMN_NAME_PATTERN})(?![a-zA-Z0-9:_-]))[a-zA-Z0-9:_-]{{1,128}}+"
"""A valid name, as `asyncgg.models.invalid_name_reason`, that is no column name: for the fast paths."""

MAX_EXCERPT: Final = 1000
"""Maximum characters kept of the text of a bad row."""

COLUMN_ALIASES: Final = {"core": "core", "coredevicethingname": "core", "thing": "thing", "thingname": "thing"}
_CONTROL_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


@dataclass(frozen=True, slots=True)
class BadRow:
    """An invalid row: location, reason and text."""

    file: str
    line: int
    """From 1. CSV and JSONL: the physical line where the row starts. Parquet and iterables: the row
    number."""
    reason: str
    raw: str
    """The row as `printable` returns it."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a manifest, split into valid and bad rows."""

    good: list[tuple[str, str]] | NameColumns = field(default_factory=list)
    """(core, thing), both valid names. Duplicates are included."""
    bad: list[BadRow] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    """Lines of rows that repeat the header, which files put together or sorted have."""

    def add_row(self, line: int, core: object, thing: object) -> str | None:
        """Add a valid row or a repeated header; returns why any other row is invalid."""
        if column_of(core) == "core" and column_of(thing) == "thing":
            self.headers.append(line)
            return None
        reason = invalid_row_reason(core, thing)
        if reason is None:
            self.add_pairs([(str(core), str(thing))])
        return reason

    def add_pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add valid (core, thing) pairs."""
        assert isinstance(self.good, list), "columns are complete"
        self.good.extend(pairs)


@dataclass(frozen=True, slots=True)
class Columns:
    """The indexes of the columns `core` and `thing`."""

    core: int
    thing: int
    count: int

    def may_be_shifted(self, fields: Sequence[str]) -> bool:
        """Whether surplus fields may have shifted other values into `core` and `thing`.

        Names contain no delimiter, so only another column in front of them can do that.
        """
        return max(self.core, self.thing) > 1 and any(text.strip() for text in fields[self.count :])


def column_of(cell: object) -> str | None:
    """The column, `core` or `thing`, that a cell names in a header; None for any other cell."""
    return COLUMN_ALIASES.get(normalize_header(cell)) if isinstance(cell, str) else None


def normalize_header(cell: str) -> str:
    """A cell of a header, for comparison: without blanks, a byte order mark and case."""
    return cell.replace("\ufeff", "").strip().lower()


def find_columns(location: str, names: Sequence[str]) -> Columns | None:
    """Find `core` and `thing` among the column `names`, ignoring case and surrounding blanks.

    Returns None if one is missing. Raises `ManifestError` if one occurs twice.
    """
    indexes: dict[str, int] = {}
    for index, name in enumerate(names):
        column = column_of(name)
        if column is None:
            continue
        if column in indexes:
            first, second = names[indexes[column]].strip(), name.strip()
            raise ManifestError(f"{location}: column `{column}` occurs twice (`{first}`, `{second}`); keep one of them")
        indexes[column] = index
    if len(indexes) < 2:
        return None
    return Columns(indexes["core"], indexes["thing"], len(names))


def invalid_row_reason(core: object, thing: object) -> str | None:
    """Why the two values are not an association, or None."""
    if (
        isinstance(core, str)
        and isinstance(thing, str)
        and invalid_name_reason(core) is None
        and invalid_name_reason(thing) is None
    ):
        return None
    reasons = [
        f"{column} {reason}"
        for column, value in (("core", core), ("thing", thing))
        if (reason := _invalid_value_reason(value))
    ]
    return "; ".join(reasons)


def _invalid_value_reason(value: object) -> str | None:
    if value is None:
        return "is null"
    if not isinstance(value, str):
        return "is not text"
    return invalid_name_reason(value)


def printable(raw: bytes | str) -> str:
    """Up to `MAX_EXCERPT` characters of `raw` on one line, safe for a terminal, a log and a CSV."""
    text = raw[: MAX_EXCERPT * 4].decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw
    if len(text) > MAX_EXCERPT:
        text = text[:MAX_EXCERPT] + "…"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(char) for char in text)


def _escape(char: str) -> str:
    if char in _CONTROL_ESCAPES:
        return _CONTROL_ESCAPES[char]
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8, from surrogateescape
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


NAME_BYTES: Final = bytes(byte for byte in range(128) if re.match("[a-zA-Z0-9:_-]", chr(byte)))
"""The characters of a name."""


def are_valid_names(values: Sequence[str]) -> bool:
    """Whether all `values` are valid names and none is a column name. The fast path for columns."""
    text = "\n".join(("", *values, ""))
    lower = text.lower()
    return (
        text.isascii()
        and text.encode("ascii").translate(None, NAME_BYTES) == b"\n" * (len(values) + 1)
        and "\n\n" not in text
        and max(map(len, values), default=0) <= MAX_NAME_LENGTH
        and not any(f"\n{alias}\n" in lower for alias in COLUMN_ALIASES)
    )
