"""Validates the rows that a program passes, by the rules of a manifest."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Final

from asyncgg.errors import ManifestError
from asyncgg.manifest.rows import BadRow, Chunk, find_columns, printable

Row = tuple[str, str] | Mapping[str, str]
"""A (core, thing) pair, an `Association`, or a mapping with the columns of a manifest."""

_DEFAULT_NAME: Final = "<iterable>"
_CHUNK_SIZE: Final = 8192


def from_iterable(rows: Iterable[Row], *, name: str = _DEFAULT_NAME) -> Iterator[Chunk]:
    """Validate `rows` and yield chunks. The line of a bad row is its number in `rows`, from 1.

    Unlike an empty manifest, an empty iterable is not an error.
    """
    chunk = Chunk()
    for number, row in enumerate(rows, 1):
        _add(chunk, name, number, row)
        if number % _CHUNK_SIZE == 0:
            yield chunk
            chunk = Chunk()
    if any((chunk.good, chunk.bad, chunk.headers)):
        yield chunk


async def from_async_iterable(rows: AsyncIterable[Row], *, name: str = _DEFAULT_NAME) -> AsyncIterator[Chunk]:
    """Like `from_iterable`, for an asynchronous iterable."""
    chunk = Chunk()
    number = 0
    async for row in rows:
        number += 1
        _add(chunk, name, number, row)
        if number % _CHUNK_SIZE == 0:
            yield chunk
            chunk = Chunk()
    if any((chunk.good, chunk.bad, chunk.headers)):
        yield chunk


def _add(chunk: Chunk, name: str, number: int, row: object) -> None:
    pair = _extract_pair(row)
    reason = pair if isinstance(pair, str) else chunk.add_row(number, *pair)
    if reason is not None:
        chunk.bad.append(BadRow(name, number, reason, printable(repr(row))))


def _extract_pair(row: object) -> tuple[object, object] | str:
    if isinstance(row, Mapping):
        keys = [key for key in row if isinstance(key, str)]
        try:
            columns = find_columns("", keys)
        except ManifestError:
            return "has `core` or `thing` twice"
        if columns is None:
            return "lacks the key `core` or `thing`"
        return row[keys[columns.core]], row[keys[columns.thing]]
    if isinstance(row, tuple | list) and len(row) == 2:  # not str: two characters would unpack as well
        return row[0], row[1]
    return "is not a pair of core and thing"
