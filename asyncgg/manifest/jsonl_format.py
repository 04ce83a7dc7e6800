"""Rule: what a JSONL manifest means lives here: one JSON object a line, its keys, its faults; bytes come from outside.

Names are taken as they stand (no trimming): JSON says exactly where a text begins and ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from asyncgg.errors import ManifestError
from asyncgg.manifest.lines import MAX_LINE, Block, blocks
from asyncgg.manifest.rows import NAME_PATTERN, BadRow, Chunk, Columns, find_columns, invalid_row_reason, printable

__all__ = ["jsonl_chunks"]

_CORE_PATTERN: Final = rf'"core(?:DeviceThingName)?" ?: ?"({NAME_PATTERN})"'
_THING_PATTERN: Final = rf'"thing(?:Name)?" ?: ?"({NAME_PATTERN})"'
# Names need no escapes in JSON, so what these match needs no parser.
_FAST_ROW: Final = re.compile(rf"^\{{ ?{_CORE_PATTERN} ?, ?{_THING_PATTERN} ?\}}\r?$", re.MULTILINE)
_FAST_ROW_THING_FIRST: Final = re.compile(rf"^\{{ ?{_THING_PATTERN} ?, ?{_CORE_PATTERN} ?\}}\r?$", re.MULTILINE)


class _JsonObject(list[tuple[str, object]]):
    """A JSON object as its members in their order, so that a member given twice is seen."""


def jsonl_chunks(name: str, read: Callable[[int], bytes]) -> Iterator[Chunk]:
    """Read the JSON lines that `read` gives, as chunks of checked rows.

    Raises `ManifestError` when the file is one JSON array instead of lines.
    """
    started = False
    for block in blocks(read):
        if not started and (first_byte := block.data.lstrip()[:1]):
            started = True
            if first_byte == b"[":
                raise ManifestError(
                    f"{name} is a JSON array: write one object a line, without brackets and commas around"
                )
        yield _parse_block(name, block)


def _parse_block(name: str, block: Block) -> Chunk:
    if block.too_long:
        return Chunk(bad=[BadRow(name, block.first_line, f"is longer than {MAX_LINE} bytes", printable(block.data))])
    if (pairs := _parse_block_fast(block.data)) is not None:
        return Chunk(good=pairs)
    chunk = Chunk()
    for number, line in enumerate(block.data.split(b"\n"), block.first_line):
        line = line.strip(b" \t\r")
        if not line:
            continue
        pair = _parse_line(line)
        if isinstance(pair, str):
            chunk.bad.append(BadRow(name, number, pair, printable(line)))
        else:
            chunk.good.append(pair)
    return chunk


def _parse_block_fast(data: bytes) -> list[tuple[str, str]] | None:
    """The pairs of a block whose lines hold the two members and nothing else, else None."""
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


@lru_cache(maxsize=64)
def _resolve_columns(keys: tuple[str, ...]) -> Columns | str:
    """Which keys are the wanted ones, or why the row is bad; most rows of a file have the same keys."""
    try:
        columns = find_columns("", keys)
    except ManifestError:
        return "names `core` or `thing` twice"
    if columns is None:
        lowercase_keys = {key.strip().lower() for key in keys}
        return f"key `{'thing' if lowercase_keys & {'core', 'coredevicethingname'} else 'core'}` is missing"
    return columns


_decode = json.JSONDecoder(object_pairs_hook=_JsonObject).decode


def _parse_line(line: bytes) -> tuple[str, str] | str:
    """The association in one line, or why there is none."""
    if len(line) > MAX_LINE:
        return f"is longer than {MAX_LINE} bytes"
    try:
        value = _decode(line.decode("utf-8"))
    except UnicodeDecodeError:
        return "is not UTF-8"
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets
        return "is not JSON (nested too deep, or a number too long)"
    if not isinstance(value, _JsonObject):
        return "is not a JSON object"
    columns = _resolve_columns(tuple([key for key, _ in value]))
    if isinstance(columns, str):
        return columns
    core, thing = value[columns.core][1], value[columns.thing][1]
    reason = invalid_row_reason(core, thing)
    return (str(core), str(thing)) if reason is None else reason
