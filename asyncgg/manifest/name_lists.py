"""Reads lists of names: `--things`, `--cores`, `--only`, `--protect`, keep lists of a policy."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from asyncgg.errors import ManifestError, UsageError
from asyncgg.manifest.jsonl_format import JsonObject, decode_json
from asyncgg.manifest.reader import ManifestReader, open_manifest
from asyncgg.manifest.rows import column_of, find_columns, normalize_header, printable
from asyncgg.manifest.sources import S3Opener, Source, open_source
from asyncgg.models import invalid_name_reason

NameKind = Literal["thing", "core"]
_Entry = tuple[int, str, bool]
"""Line, name, and whether the line repeats the header."""

_DELIMITERS: Final = ",;\t"
_MAX_LISTED: Final = 10
_MANIFEST_SUFFIXES: Final = (".jsonl", ".ndjson", ".parquet")

# A `#` within a word belongs to it: cut there, `sensor-1#2` would be the name of another thing.
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")


# What files that were put together, or saved by Excel, have at the start of a line.
_LINE_PREFIX: Final = re.compile(r'^\ufeff?"?sep=.?"?[ \t]*(?=\r?$)|^\ufeff', re.IGNORECASE | re.MULTILINE)


class NameList(list[str]):
    """Distinct names, and the entries left out because they repeat the column name."""

    headers: tuple[str, ...] = ()


def read_names(
    spec: str | Path,
    kind: NameKind,
    *,
    reject_pairs: bool = False,
    allow_empty: bool = False,
    s3: S3Opener | None = None,
) -> NameList:
    """Read the distinct names of `spec`: a path (also .gz), `-`, or an object for `s3`. Blocking.

    - .jsonl, .ndjson: each line is a string, or an object with the key `kind`.
    - A delimiter in the first line: CSV with the column `kind`.
    - Otherwise one name per line, with blank lines and `#` comments. The first line can be the
      column name.

    A manifest is therefore a list of its things and of its cores, unless `reject_pairs`. Raises
    `ManifestError` with file and line for an invalid name, a missing column or an empty list, and
    `CredentialsError` if S3 denies access.
    """
    return parse_names(*read_text(spec, s3), kind, reject_pairs=reject_pairs, allow_empty=allow_empty)


def parse_names(
    text: str, location: str, kind: NameKind, *, reject_pairs: bool = False, allow_empty: bool = False
) -> NameList:
    """Parse the text of a list as `read_names` does. `location`: the list's name in messages."""
    names: dict[str, None] = {}
    headers = []
    for number, name, is_header in _iter_names(text, location, kind, reject_pairs=reject_pairs):
        if is_header:
            headers.append(name)
            continue
        if reason := invalid_name_reason(name):
            raise ManifestError(f"{location}:{number}: invalid {kind} name `{printable(name[:200])}`: {reason}")
        names[name] = None
    if not names and not allow_empty:
        raise ManifestError(f"{location}: the list has no names")
    found = NameList(names)
    found.headers = tuple(headers)
    return found


def read_text(spec: str | Path, s3: S3Opener | None = None) -> tuple[str, str]:
    """Read the text of a list; returns also its name for messages. Raises as `read_names`."""
    path = str(spec)
    if path.startswith("s3://") and s3 is None:  # the default opener would ignore --profile
        raise ManifestError(f"{path}: this list cannot be read from S3; download the file")
    with closing(open_source(path, None, s3)) as source:
        source.open_text(expect_gzip=path.lower().endswith(".gz"))
        data = b"".join(iter(partial(source.read, 1 << 20), b""))
    try:
        return _LINE_PREFIX.sub("", data.decode("utf-8")), source.name
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{source.name}:{line}: the list is not UTF-8 text; save the file as UTF-8") from None


def iter_entries(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and content of each line that is not blank, without comment and quotes."""
    for number, line in enumerate(_lines(text), 1):
        if entry := (_COMMENT.sub("", line.strip()) if "#" in line else line).strip():
            is_quoted = len(entry) > 1 and entry[0] == entry[-1] == '"' and '"' not in entry[1:-1]
            yield number, entry[1:-1].strip() if is_quoted else entry


def _lines(text: str) -> io.StringIO:
    return io.StringIO(text, newline=None)  # LF, CRLF and CR


def _iter_names(text: str, location: str, kind: NameKind, *, reject_pairs: bool) -> Iterator[_Entry]:
    if location.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson")):
        return _json_names(text, location, kind, reject_pairs=reject_pairs)
    number, first = next(iter_entries(text), (1, ""))
    if delimiter := next((char for char in _DELIMITERS if char in first), ""):
        return _csv_names(text, location, number, kind, delimiter, reject_pairs=reject_pairs)
    return _plain_names(text, location, kind)


def _plain_names(text: str, location: str, kind: NameKind) -> Iterator[_Entry]:
    for index, (number, entry) in enumerate(iter_entries(text)):
        if index == 0 and column_of(entry):
            _column_index([entry], kind, f"{location}:{number}")
        else:
            yield number, entry, column_of(entry) == kind


def _csv_names(
    text: str, location: str, header: int, kind: NameKind, delimiter: str, *, reject_pairs: bool
) -> Iterator[_Entry]:
    """`header`: number of the header line; only comments and blank lines precede it."""
    rows = csv.reader(islice(_lines(text), header - 1, None), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        columns = next(rows)
        column = _column_index(columns, kind, f"{location}:{header}", reject_pairs=reject_pairs)
        for row in rows:
            number = header - 1 + rows.line_num
            if not any(cell.strip() for cell in row):
                continue
            if column >= len(row):
                raise ManifestError(f"{location}:{number}: the row has no column `{kind}`")
            # A CSV has no comments: a `#` in the cell makes the name invalid.
            yield number, row[column].strip(), _canonical(row) == _canonical(columns)
    except csv.Error as error:
        raise ManifestError(f"{location}:{header - 1 + rows.line_num}: invalid CSV: {error}") from None


def _canonical(row: Sequence[str]) -> list[str]:
    return [column_of(cell) or normalize_header(cell) for cell in row]


def _json_names(text: str, location: str, kind: NameKind, *, reject_pairs: bool) -> Iterator[_Entry]:
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        try:
            value = decode_json(line)
        except (ValueError, RecursionError):
            raise ManifestError(f"{location}:{number}: invalid JSON") from None
        if isinstance(value, JsonObject):
            keys = [key for key, _ in value]
            value = value[_column_index(keys, kind, f"{location}:{number}", reject_pairs=reject_pairs)][1]
        if not isinstance(value, str):
            raise ManifestError(f"{location}:{number}: the {kind} name must be a string")
        yield number, value, column_of(value) == kind


def _column_index(names: Sequence[str], kind: NameKind, location: str, *, reject_pairs: bool = False) -> int:
    """The index of the only column of `kind`."""
    columns = list(map(column_of, names))
    if columns.count(kind) != 1:
        problem = "more than one" if kind in columns else "no"
        raise ManifestError(f"{location}: {problem} column `{kind}`; write one name per line, or one column `{kind}`")
    if reject_pairs and any(column not in {None, kind} for column in columns):
        raise ManifestError(
            f"{location}: the rows are associations of one core and one thing, not names; "
            f"use the file as MANIFEST, or remove the other column"
        )
    return columns.index(kind)


class Selection:
    """Associations, and things for all of theirs, with a record of those that were matched."""

    def __init__(self, name: str, entries: Iterable[tuple[str, str] | str], *, header_rows: int = 0) -> None:
        """`name`: the list's name in messages. `header_rows`: entries left out as repeated headers."""
        self.name = name
        self.header_rows = header_rows
        self._unused: set[tuple[str, str] | str] = set(entries)
        self._used: set[tuple[str, str] | str] = set()

    def matches(self, core: str, thing: str) -> bool:
        """Whether the list selects this association."""
        is_selected = False
        for entry in ((core, thing), thing):
            if entry in self._unused:
                self._unused.discard(entry)
                self._used.add(entry)
            is_selected = is_selected or entry in self._used
        return is_selected

    def require_all_used(self, location: str) -> None:
        """Raise `UsageError` for entries that matched nothing in `location`."""
        if not self._unused:
            return
        unused = sorted(entry if isinstance(entry, str) else ",".join(entry) for entry in self._unused)
        suffix = f" and {len(unused) - _MAX_LISTED} more" if len(unused) > _MAX_LISTED else ""
        noun = "entry is" if len(unused) == 1 else "entries are"
        raise UsageError(
            f"{self.name}: {len(unused)} {noun} not in {location}: {', '.join(unused[:_MAX_LISTED])}{suffix}; "
            "remove them from the list"
        )


def load_selection(path: str | Path) -> Selection:
    """Read the list at `path` (`-`: standard input) once, so that the list can be a pipe.

    A file with both columns, or with the suffix of JSONL or Parquet, is a manifest; otherwise the
    list names things. Raises `UsageError` or `ManifestError` with file and line.
    """
    spec = str(path)
    if spec.lower().removesuffix(".gz").endswith(_MANIFEST_SUFFIXES):
        return _read_pairs(open_manifest(spec))
    text, location = read_text(spec)
    number, first = next(iter_entries(text), (1, ""))
    if not any(find_columns(location, _split_cells(first, delimiter)) for delimiter in _DELIMITERS):
        names = parse_names(text, location, "thing")
        return Selection(location, names, header_rows=len(names.headers))
    # The manifest reader knows no comments: replace those in front of the header by blank lines.
    lines = "\n" * (number - 1) + "".join(islice(_lines(text), number - 1, None))
    source = Source(location, io.BytesIO(lines.encode("utf-8")), owned=True)
    source.open_text(expect_gzip=False)
    return _read_pairs(ManifestReader(source, "csv"))


def _split_cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _read_pairs(reader: ManifestReader) -> Selection:
    pairs: list[tuple[str, str]] = []
    header_rows = 0
    with reader as manifest:
        for chunk in manifest.chunks(allow_empty=True):
            if chunk.bad:
                raise UsageError(f"{chunk.bad[0]}; correct the list")
            pairs += chunk.good
            header_rows += len(chunk.headers)
    return Selection(reader.name, pairs, header_rows=header_rows)
