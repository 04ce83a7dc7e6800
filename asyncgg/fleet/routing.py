"""Reads a manifest whose rows name accounts, Regions or targets, and finds the target of each row."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from asyncgg.errors import ManifestError
from asyncgg.fleet.targets import FleetTarget
from asyncgg.manifest.jsonl_format import JsonObject, decode_json
from asyncgg.manifest.reader import manifest_format
from asyncgg.manifest.rows import BadRow, column_of, invalid_row_reason, normalize_header, printable
from asyncgg.manifest.sources import MAX_LINE, SEPARATOR_LINE, S3Opener, Source, blocks, open_source

ROUTING_COLUMNS: Final = ("account", "region", "target")
_COLUMNS: Final = ("core", "thing", *ROUTING_COLUMNS)
_CHUNK: Final = 5000
"""Rows that are passed on at once."""
_BLANKS: Final = " \t\xa0"


@dataclass(frozen=True, slots=True)
class RoutedRows:
    """Consecutive rows of a manifest: the pairs by target, and the bad rows."""

    pairs: Mapping[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    bad: list[BadRow] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)


class Router:
    """Finds the one target that takes a row."""

    def __init__(self, targets: Sequence[FleetTarget]) -> None:
        self._targets = targets
        self._results: dict[tuple[str, str, str], str | FleetTarget] = {}

    def find(self, account: str, region: str, target: str) -> str | FleetTarget:
        """The target of a row with these values, empty ones omitted; or why no single one takes it."""
        key = (account, region, target)
        if key not in self._results:
            self._results[key] = self._find(*key)
        return self._results[key]

    def _find(self, account: str, region: str, name: str) -> str | FleetTarget:
        wanted = {"account": account, "region": region, "target": name}
        description = ", ".join(f"{column} {printable(value)}" for column, value in wanted.items() if value)
        matches = [
            target
            for target in self._targets
            if account in {"", target.account} and region in {"", target.region} and name in {"", target.name}
        ]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            return f"no target for {description}"
        names = ", ".join(target.name for target in matches[:5])
        return f"{len(matches)} targets for {description or 'a row without account, region and target'} ({names})"


def route_manifest(
    spec: str,
    router: Router,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    stdin: BinaryIO | None = None,
    s3: S3Opener | None = None,
) -> Iterator[RoutedRows]:
    """Yield the rows of a CSV, JSONL or Parquet manifest by target, in bounded memory. Blocking.

    Raises `ManifestError` if it cannot be read to the end or lacks a column, `CredentialsError` as
    `open_manifest`.
    """
    name_format = manifest_format(spec, format)
    source = open_source(spec, stdin, s3)
    try:
        rows = _parquet_rows(source) if name_format == "parquet" else _text_rows(source, spec, name_format)
        result = RoutedRows()
        for count, (line, values, raw) in enumerate(rows, 1):
            _add(result, source.name, router, line, values, raw)
            if count % _CHUNK == 0:
                yield result
                result = RoutedRows()
        yield result
    finally:
        source.close()


def _add(
    result: RoutedRows, file: str, router: Router, line: int, values: Mapping[str, object] | str, raw: str
) -> None:
    if isinstance(values, str):
        result.bad.append(BadRow(file, line, values, raw))
        return
    core, thing = values.get("core"), values.get("thing")
    if column_of(core) == "core" and column_of(thing) == "thing":
        result.headers.append(line)
        return
    reason = invalid_row_reason(core, thing)
    route = ["" if (value := values.get(column)) is None else str(value) for column in ROUTING_COLUMNS]
    target = reason or router.find(*route)
    if isinstance(target, str):
        result.bad.append(BadRow(file, line, target, raw))
    else:
        result.pairs[target.name].append((str(core), str(thing)))


def _text_rows(source: Source, spec: str, format: str) -> Iterator[tuple[int, Any, str]]:  # noqa: A002 - as above
    source.open_text(expect_gzip=spec.lower().endswith(".gz"))
    lines = _lines(source)
    return _csv_rows(source.name, lines) if format == "csv" else _jsonl_rows(source.name, lines)


def _lines(source: Source) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; an invalid byte becomes a surrogate, which no name contains."""
    for block in blocks(source.read):
        for number, line in enumerate(block.data.split(b"\n")[: None if block.too_long else -1], block.first_line):
            yield number, line[: MAX_LINE + 1].decode("utf-8", "surrogateescape")


def _csv_rows(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Any, str]]:
    """A row is one line: names, accounts and Regions have no line breaks."""
    header: dict[str, int] | None = None
    delimiter = ","
    count = 0
    for number, line in lines:
        text = line.rstrip("\r")
        if not text.strip(_BLANKS + ",;"):
            continue
        if header is None:
            if SEPARATOR_LINE.match(text.encode("utf-8", "surrogateescape")):
                continue
            header, delimiter, count = _parse_header(f"{name}:{number}", text)
            continue
        raw = printable(text)
        if "\0" in text or len(text) > MAX_LINE:
            yield number, "contains a NUL byte or is too long", raw
            continue
        try:
            fields = next(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error as error:
            yield number, f"is not CSV ({error})", raw
            continue
        if len(fields) <= max(header.values()) or any(cell.strip() for cell in fields[count:]):
            yield number, f"has {len(fields)} columns, the header has {count}", raw
            continue
        yield number, {column: fields[index].strip(_BLANKS) for column, index in header.items()}, raw
    if header is None:
        raise ManifestError(f"{name} has no header and no rows")


def _parse_header(location: str, line: str) -> tuple[dict[str, int], str, int]:
    for delimiter in ",;\t":
        try:
            fields = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error:
            continue
        columns = [_column(field) for field in fields]
        if {"core", "thing"} <= set(columns):
            known = {column: index for index, column in enumerate(columns) if column}
            if len(known) < len([column for column in columns if column]):
                raise ManifestError(f"{location}: a column occurs twice in the header; keep one of them")
            return known, delimiter, len(fields)
    raise ManifestError(
        f"{location}: the header `{printable(line[:200])}` lacks a column; it names `core`, `thing` and, to select the"
        " target, `account`, `region` or `target`"
    )


def _column(name: str) -> str:
    """The column that a header or key names; empty for another one."""
    return column_of(name) or (found if (found := normalize_header(name)) in ROUTING_COLUMNS else "")


def _jsonl_rows(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Any, str]]:
    for number, line in lines:
        text = line.strip()
        if not text:
            continue
        try:
            value = decode_json(text)
        except (ValueError, RecursionError):
            yield number, "is not JSON", printable(text)
            continue
        if not isinstance(value, JsonObject):
            yield number, "is not a JSON object", printable(text)
            continue
        members = [(_column(key), member) for key, member in value]
        columns = [column for column, _ in members if column]
        duplicate = len(set(columns)) < len(columns)
        yield number, "has a key twice" if duplicate else dict(members), printable(text)


def _parquet_rows(source: Source) -> Iterator[tuple[int, Any, str]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ManifestError(f"{source.name}: Parquet requires pyarrow; install asyncgg[parquet]") from None
    try:
        parquet = pq.ParquetFile(source.open_seekable(), pre_buffer=False)
        selected = [name for name in parquet.schema_arrow.names if _column(name)]
        if not {"core", "thing"} <= {_column(name) for name in selected}:
            raise ManifestError(f"{source.name} lacks a column: it needs `core` and `thing`")
        number = 0
        for batch in parquet.iter_batches(batch_size=_CHUNK, columns=selected, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield number, {_column(key): value for key, value in row.items()}, printable(str(row))
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{source.name} is not a readable Parquet file ({printable(str(error))})") from None
