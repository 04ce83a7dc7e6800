"""Parses JSONL manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from asyncgg.errors import ManifestError
from asyncgg.manifest.rows import (
    COLUMN_NAME_PATTERN,
    NAME_PATTERN,
    BadRow,
    Chunk,
    Columns,
    column_of,
    find_columns,
    printable,
)
from asyncgg.manifest.sources import BOM, MAX_LINE, Block, blocks

_CORE: Final = rf'"core(?:DeviceThingName)?+" ?+: ?+"{NAME_PATTERN}"'
_THING: Final = rf'"thing(?:Name)?+" ?+: ?+"{NAME_PATTERN}"'
_TEXT: Final = r'[^"\\\0-\x1f\ufeff\udc80-\udcff]{0,500}+"'
_OTHER: Final = (
    rf'"(?!\s*+(?i:{COLUMN_NAME_PATTERN})\s*+"){_TEXT} ?+: ?+'
    rf'(?:"{_TEXT}|-?+(?:0|[1-9][0-9]{{0,15}}+)(?:\.[0-9]{{1,20}}+)?+|true|false|null)'
)
_OTHERS_BEFORE, _OTHERS_AFTER = rf"(?:{_OTHER} ?+, ?+){{0,5}}+", rf"(?: ?+, ?+{_OTHER}){{0,5}}+"
# Names need no escapes in JSON, so these lines need no parser. They are shorter than `MAX_LINE`.
_RUN: Final = re.compile(
    "|".join(
        rf"(?:\{{ ?+{_OTHERS_BEFORE}{first}{_OTHERS_AFTER} ?+, ?+{second}{_OTHERS_AFTER} ?+\}}\r?+\n)++"
        for first, second in ((_CORE, _THING), (_THING, _CORE))
    )
)
"""Lines with the two members in the same order, and a few others that have plain values."""
_CORE_OF_RUN: Final = re.compile(r'"core(?:DeviceThingName)?+" ?+: ?+"([^"]++)')
_THING_OF_RUN: Final = re.compile(r'"thing(?:Name)?+" ?+: ?+"([^"]++)')


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
    chunk = Chunk()
    text = block.data.decode("utf-8", "surrogateescape")
    number, start = block.first_line, 0
    while start < len(text):
        if run := _RUN.match(text, start):
            end = run.end()
            cores, things = (pattern.findall(text, start, end) for pattern in (_CORE_OF_RUN, _THING_OF_RUN))
            chunk.add_pairs(zip(cores, things, strict=True))
        else:
            end = text.index("\n", start) + 1
            line = text[start:end].encode("utf-8", "surrogateescape").strip(b" \t\r\n").removeprefix(BOM)
            if line:
                pair = _parse_line(line)
                reason = pair if isinstance(pair, str) else chunk.add_row(number, *pair)
                if reason is not None:
                    chunk.bad.append(BadRow(name, number, reason, printable(line)))
        number += text.count("\n", start, end)
        start = end
    return chunk


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
