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

from asyncgg.cleanup.policy.model import Policy
from asyncgg.errors import ManifestError
from asyncgg.manifest import S3Opener
from asyncgg.manifest.sources import Source, open_source
from asyncgg.models import invalid_name_reason

__all__ = ["read_keep_list", "read_keep_lists", "resolve_path"]

_THING_COLUMNS: Final = frozenset({"thing", "thingname"})
_CHUNK_SIZE: Final = 1 << 20


def resolve_path(policy: Path, file: str) -> Path | None:
    """Where a list of the policy lies, seen from the policy's folder; None when it is in S3."""
    return None if file.startswith("s3://") else policy.parent / file


def read_keep_lists(policy: Policy, s3: S3Opener | None = None) -> dict[str, frozenset[str]]:
    """Every list of the policy, by the name the policy gives it. Blocking: call it in a worker thread.

    Raises:
        ManifestError: a list cannot be read whole, holds what is no name, or is empty without `allow-empty`.
        CredentialsError: S3 refused to give one.
    """
    lists: dict[str, frozenset[str]] = {}
    for keep_list in policy.keep_lists:
        file = resolve_path(policy.path, keep_list.file)
        spec = keep_list.file if file is None else str(file)
        names = lists[keep_list.file] if keep_list.file in lists else read_keep_list(spec, s3)
        if not names and not keep_list.allow_empty:
            raise ManifestError(
                f"{spec}: the list of what must stay is empty, so everything could go: fill it, or write"
                " not-in = { file = ..., allow-empty = true }"
            )
        lists[keep_list.file] = names
    return lists


def read_keep_list(spec: str, s3: S3Opener | None = None) -> frozenset[str]:
    """The names of things in one list: a path or `s3://bucket/key`. Raises as `read_keep_lists`, but for an empty one."""
    base_name = spec.lower().removesuffix(".gz")
    with closing(open_source(spec, None, s3)) as source:
        source.open_text(expect_gzip=spec.lower().endswith(".gz"))
        lines = _read_lines(source)
        if base_name.endswith(".csv"):
            rows = _parse_csv(spec, lines)
        elif base_name.endswith((".jsonl", ".ndjson")):
            rows = _parse_jsonl(spec, lines)
        else:
            rows = _parse_plain(lines)
        return frozenset(_validate_names(spec, rows))


def _read_lines(source: Source) -> Iterator[str]:
    text = io.BytesIO()  # a list is held as a set of names anyway
    while chunk := source.read(_CHUNK_SIZE):
        text.write(chunk)
    try:
        decoded = text.getvalue().decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.getvalue().count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{source.name}:{line}: the list is not UTF-8 text: save it as UTF-8") from None
    return iter(io.StringIO(decoded, newline=None))


def _validate_names(spec: str, rows: Iterable[tuple[int, str]]) -> Iterator[str]:
    for line, name in rows:
        if problem := invalid_name_reason(name):
            raise ManifestError(f"{spec}:{line}: {name[:200]!a} is no thing's name: it {problem}")
        yield name


def _parse_plain(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if name := line.split("#", 1)[0].strip():
            yield number, name


def _parse_csv(spec: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    rows = csv.reader(lines, strict=True)
    try:
        column = -1
        for row in rows:
            if not any(field.strip() for field in row):
                continue
            if column < 0:
                column = _thing_column(spec, row)
            elif len(row) <= column:
                raise ManifestError(f"{spec}:{rows.line_num}: the row has no thing")
            else:
                yield rows.line_num, row[column].strip()
    except csv.Error as error:
        raise ManifestError(f"{spec}:{rows.line_num}: the row cannot be read: {error}") from None


def _thing_column(spec: str, header: list[str]) -> int:
    indexes = [index for index, title in enumerate(header) if title.strip().lower() in _THING_COLUMNS]
    if len(indexes) != 1:
        raise ManifestError(f"{spec}:1: the first line must have one column `thing` (or `thingName`)")
    return indexes[0]


def _parse_jsonl(spec: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise ManifestError(f"{spec}:{number}: the line is no JSON") from None
        names = (
            [value for key, value in row.items() if key.lower() in _THING_COLUMNS] if isinstance(row, dict) else [row]
        )
        if len(names) != 1 or not isinstance(names[0], str):
            raise ManifestError(f"{spec}:{number}: the line has no `thing` (or `thingName`)")
        yield number, names[0]
