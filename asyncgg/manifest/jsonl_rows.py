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
from asyncgg.manifest.rows import NAME, BadRow, Chunk, Columns, find_columns, row_fault, shown

__all__ = ["jsonl_chunks"]

_CORE: Final = rf'"core(?:DeviceThingName)?" ?: ?"({NAME})"'
_THING: Final = rf'"thing(?:Name)?" ?: ?"({NAME})"'
# Names need no escapes in JSON, so what these match needs no parser.
_COMMON: Final = re.compile(rf"^\{{ ?{_CORE} ?, ?{_THING} ?\}}\r?$", re.MULTILINE)
_COMMON_SWAPPED: Final = re.compile(rf"^\{{ ?{_THING} ?, ?{_CORE} ?\}}\r?$", re.MULTILINE)


class _Object(list[tuple[str, object]]):
    """A JSON object as its members in their order, so that a member given twice is seen."""


def jsonl_chunks(name: str, read: Callable[[int], bytes]) -> Iterator[Chunk]:
    """Read the JSON lines that `read` gives, as chunks of checked rows.

    Raises `ManifestError` when the file is one JSON array instead of lines.
    """
    begun = False
    for block in blocks(read):
        if not begun and (start := block.data.lstrip()[:1]):
            begun = True
            if start == b"[":
                raise ManifestError(
                    f"{name} is a JSON array: write one object a line, without brackets and commas around"
                )
        yield _take(name, block)


def _take(name: str, block: Block) -> Chunk:
    if block.long:
        return Chunk(bad=[BadRow(name, block.first, f"is longer than {MAX_LINE} bytes", shown(block.data))])
    if (pairs := _all_common(block.data)) is not None:
        return Chunk(good=pairs)
    chunk = Chunk()
    for number, line in enumerate(block.data.split(b"\n"), block.first):
        line = line.strip(b" \t\r")
        if not line:
            continue
        pair = _pair(line)
        if isinstance(pair, str):
            chunk.bad.append(BadRow(name, number, pair, shown(line)))
        else:
            chunk.good.append(pair)
    return chunk


def _all_common(data: bytes) -> list[tuple[str, str]] | None:
    """The pairs of a block whose lines hold the two members and nothing else, else None."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if _COMMON.match(text):
        pairs: list[tuple[str, str]] = _COMMON.findall(text)
    elif _COMMON_SWAPPED.match(text):
        pairs = [(core, thing) for thing, core in _COMMON_SWAPPED.findall(text)]
    else:
        return None
    return pairs if len(pairs) == data.count(b"\n") else None


@lru_cache(maxsize=64)
def _columns(keys: tuple[str, ...]) -> Columns | str:
    """Which keys are the wanted ones, or why the row is bad; most rows of a file have the same keys."""
    try:
        columns = find_columns("", keys)
    except ManifestError:
        return "names `core` or `thing` twice"
    if columns is None:
        known = {key.strip().lower() for key in keys}
        return f"key `{'thing' if known & {'core', 'coredevicethingname'} else 'core'}` is missing"
    return columns


_decode = json.JSONDecoder(object_pairs_hook=_Object).decode


def _pair(line: bytes) -> tuple[str, str] | str:
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
    if not isinstance(value, _Object):
        return "is not a JSON object"
    columns = _columns(tuple([key for key, _ in value]))
    if isinstance(columns, str):
        return columns
    core, thing = value[columns.core][1], value[columns.thing][1]
    fault = row_fault(core, thing)
    return (str(core), str(thing)) if fault is None else fault
