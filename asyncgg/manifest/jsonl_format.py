"""Parses JSONL manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from asyncgg.errors import ManifestError
from asyncgg.manifest.rows import NAME_PATTERN, BadRow, Chunk, Columns, column_of, find_columns, printable
from asyncgg.manifest.sources import BOM, MAX_LINE, Block, blocks

_CORE_PATTERN: Final = rf'"core(?:DeviceThingName)?" ?: ?"({NAME_PATTERN})"'
_THING_PATTERN: Final = rf'"thing(?:Name)?" ?: ?"({NAME_PATTERN})"'
# Names need no escapes in JSON, so what these match needs no parser.
_FAST_ROW: Final = re.compile(rf"^\{{ ?{_CORE_PATTERN} ?, ?{_THING_PATTERN} ?\}}\r?$", re.MULTILINE)
_FAST_ROW_THING_FIRST: Final = re.compile(rf"^\{{ ?{_THING_PATTERN} ?, ?{_CORE_PATTERN} ?\}}\r?$", re.MULTILINE)


class JsonObject(list[tuple[str, object]]):
    """The members of a JSON object in order, so that a duplicate key is detected."""


def jsonl_chunks(name: str, read: Callable[[int], bytes]) -> Iterator[Chunk]:
    """Parse the JSON lines that `read` returns into chunks of validated rows.

    Names are not trimmed: JSON delimits strings exactly. Raises `ManifestError` for a JSON array.
    """
    started = False
    for block in blocks(read):
        if not started and (first_byte := block.data.lstrip()[:1]):
            started = True
            if first_byte == b"[":
                raise ManifestError(f"{name} is a JSON array; write one object per line, without brackets and commas")
        yield _parse_block(name, block)


def _parse_block(name: str, block: Block) -> Chunk:
    if block.too_long:
        return Chunk(bad=[BadRow(name, block.first_line, f"is longer than {MAX_LINE} bytes", printable(block.data))])
    if (pairs := _parse_block_fast(block.data)) is not None:
        return Chunk(good=pairs)
    chunk = Chunk()
    for number, line in enumerate(block.data.split(b"\n"), block.first_line):
        line = line.strip(b" \t\r").removeprefix(BOM)
        if not line:
            continue
        pair = _parse_line(line)
        reason = pair if isinstance(pair, str) else chunk.add_row(number, *pair)
        if reason is not None:
            chunk.bad.append(BadRow(name, number, reason, printable(line)))
    return chunk


def _parse_block_fast(data: bytes) -> list[tuple[str, str]] | None:
    """The pairs of a block whose lines have exactly the two members, else None."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if _FAST_ROW.match(text):
        pairs: list[tuple[str, str]] = _FAST_ROW.findall(text)
    elif _FAST_ROW_THING_FIRST.match(text):
        pairs = [(core, thing) for thing, core in _FAST_ROW_THING_FIRST.findall(text)]
    else:
        return None
    return pairs if len(pairs) == data.count(b"\n") else None


@lru_cache(maxsize=64)  # most rows have the same keys
def _resolve_columns(keys: tuple[str, ...]) -> Columns | str:
    """The indexes of the two keys, or why the row is invalid."""
    try:
        columns = find_columns("", keys)
    except ManifestError:
        return "has `core` or `thing` twice"
    if columns is None:
        return f"key `{'thing' if 'core' in map(column_of, keys) else 'core'}` is missing"
    return columns


decode_json: Callable[[str], Any] = json.JSONDecoder(object_pairs_hook=JsonObject).decode


def _parse_line(line: bytes) -> tuple[object, object] | str:
    """The values of core and thing in one line, or why the line is invalid."""
    if len(line) > MAX_LINE:
        return f"is longer than {MAX_LINE} bytes"
    try:
        value = decode_json(line.decode("utf-8"))
    except UnicodeDecodeError:
        return "is not UTF-8"
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError):  # a number with thousands of digits, thousands of brackets
        return "is not JSON (nested too deep, or a number too long)"
    if not isinstance(value, JsonObject):
        return "is not a JSON object"
    columns = _resolve_columns(tuple([key for key, _ in value]))
    if isinstance(columns, str):
        return columns
    return value[columns.core][1], value[columns.thing][1]
