"""Rule: lists of what must stay (`not-in`) are read here; one that cannot be read whole stops the clean-up.

A list names things: one a line, blank lines and what follows `#` left out; or, by the endings .csv, .jsonl and
.ndjson (each also .gz), rows with a column `thing` or `thingName`. Other columns, the core's among them, are not looked
at: what must stay stays on every core. Half a list would be worse than none, for what is missing in it would go.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from asyncgg.cleanup.policy import Policy
from asyncgg.errors import ManifestError
from asyncgg.manifest import S3Opener
from asyncgg.manifest.sources import Source, open_source
from asyncgg.model import invalid_name_reason

__all__ = ["load_lists", "local_file", "read_list"]

_COLUMNS: Final = frozenset({"thing", "thingname"})
_PIECE: Final = 1 << 20


def local_file(policy: Path, file: str) -> Path | None:
    """Where a list of the policy lies, seen from the policy's folder; None when it is in S3."""
    return None if file.startswith("s3://") else policy.parent / file


def load_lists(policy: Policy, s3: S3Opener | None = None) -> dict[str, frozenset[str]]:
    """Every list of the policy, by the name the policy gives it. Blocking: call it in a worker thread.

    Raises:
        ManifestError: a list cannot be read whole, holds what is no name, or is empty without `allow-empty`.
        CredentialsError: S3 refused to give one.
    """
    lists: dict[str, frozenset[str]] = {}
    for one in policy.lists:
        file = local_file(policy.path, one.file)
        spec = one.file if file is None else str(file)
        names = lists[one.file] if one.file in lists else read_list(spec, s3)
        if not names and not one.allow_empty:
            raise ManifestError(
                f"{spec}: the list of what must stay is empty, so everything could go: fill it, or write"
                " not-in = { file = ..., allow-empty = true }"
            )
        lists[one.file] = names
    return lists


def read_list(spec: str, s3: S3Opener | None = None) -> frozenset[str]:
    """The names of things in one list: a path or `s3://bucket/key`. Raises as `load_lists`, but for an empty one."""
    ending = spec.lower().removesuffix(".gz")
    with closing(open_source(spec, None, s3)) as source:
        source.open_text(expect_gzip=spec.lower().endswith(".gz"))
        lines = _lines(source)
        if ending.endswith(".csv"):
            rows = _csv(spec, lines)
        elif ending.endswith((".jsonl", ".ndjson")):
            rows = _jsonl(spec, lines)
        else:
            rows = _plain(lines)
        return frozenset(_checked(spec, rows))


def _lines(source: Source) -> Iterator[str]:
    text = io.BytesIO()  # a list is held as a set of names anyway
    while piece := source.read(_PIECE):
        text.write(piece)
    try:
        whole = text.getvalue().decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.getvalue().count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{source.name}:{line}: the list is not UTF-8 text: save it as UTF-8") from None
    return iter(io.StringIO(whole, newline=None))


def _checked(spec: str, rows: Iterable[tuple[int, str]]) -> Iterator[str]:
    for line, name in rows:
        if fault := invalid_name_reason(name):
            raise ManifestError(f"{spec}:{line}: {name[:200]!a} is no thing's name: it {fault}")
        yield name


def _plain(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if name := line.split("#", 1)[0].strip():
            yield number, name


def _csv(spec: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    rows = csv.reader(lines, strict=True)
    try:
        column = -1
        for row in rows:
            if not any(field.strip() for field in row):
                continue
            if column < 0:
                column = _column(spec, row)
            elif len(row) <= column:
                raise ManifestError(f"{spec}:{rows.line_num}: the row has no thing")
            else:
                yield rows.line_num, row[column].strip()
    except csv.Error as error:
        raise ManifestError(f"{spec}:{rows.line_num}: the row cannot be read: {error}") from None


def _column(spec: str, header: list[str]) -> int:
    places = [place for place, title in enumerate(header) if title.strip().lower() in _COLUMNS]
    if len(places) != 1:
        raise ManifestError(f"{spec}:1: the first line must have one column `thing` (or `thingName`)")
    return places[0]


def _jsonl(spec: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise ManifestError(f"{spec}:{number}: the line is no JSON") from None
        given = [value for key, value in row.items() if key.lower() in _COLUMNS] if isinstance(row, dict) else [row]
        if len(given) != 1 or not isinstance(given[0], str):
            raise ManifestError(f"{spec}:{number}: the line has no `thing` (or `thingName`)")
        yield number, given[0]
