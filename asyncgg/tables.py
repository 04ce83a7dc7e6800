"""Writes tables as CSV, JSONL or Parquet, by the suffix of the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_binary, atomic_write_text
from asyncgg.formatting import format_timestamp

_SUFFIXES: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_FORMULA_PREFIXES: Final = ("=", "+", "-", "@", "\t", "\r")
_ROW_GROUP: Final = 50_000
"""Rows of a Parquet file that are in memory at a time."""


class Column(Enum):
    """What the cells of a column are."""

    NAME = "name"
    """Names and words. A name can start with `-`, and must not change."""
    TEXT = "text"
    """Texts of other programs: in CSV an apostrophe precedes what a spreadsheet would run as a formula."""
    COUNT = "count"
    TIME = "time"
    """Unix times in seconds, or None."""


def table_format(path: Path) -> str | None:
    """`csv`, `jsonl` or `parquet` by the suffix; None for another one.

    Raises `UsageError` for gzipped Parquet, and for Parquet without pyarrow.
    """
    name = path.name.lower()
    uncompressed = name.removesuffix(".gz")
    file_format = next((kind for suffix, kind in _SUFFIXES.items() if uncompressed.endswith(suffix)), None)
    if file_format == "parquet":
        if uncompressed != name:
            raise UsageError(f"{path}: Parquet is already compressed; use the suffix .parquet")
        try:
            import pyarrow.parquet  # noqa: F401 - an installed but broken pyarrow is missing, too
        except ImportError:
            raise UsageError(f"{path}: Parquet requires pyarrow: pip install 'asyncgg[parquet]'") from None
    return file_format


def require_table_format(path: Path) -> str:
    """As `table_format`; raises `UsageError` for another suffix."""
    file_format = table_format(path)
    if file_format is None:
        raise UsageError(f"{path}: unknown suffix; use .csv or .jsonl, optionally followed by .gz, or .parquet")
    return file_format


def write_table(
    path: Path,
    columns: Mapping[str, Column],
    rows: Iterable[Sequence[Any]],
    protected_path: Path | None = None,
    kind: str = "journal",
) -> int:
    """Write `rows`, streamed; returns their number. Raises `UsageError` as `atomic_write_text`."""
    file_format = require_table_format(path)
    if file_format == "parquet":
        with atomic_write_binary(path, protected_path, kind) as binary:
            return _write_parquet(binary, columns, rows)
    with atomic_write_text(path, protected_path, kind) as file:
        return (_write_csv if file_format == "csv" else _write_jsonl)(file, columns, _format_times(columns, rows))


def _positions(columns: Mapping[str, Column], kind: Column) -> list[int]:
    return [position for position, column in enumerate(columns.values()) if column is kind]


def _format_times(columns: Mapping[str, Column], rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    times = _positions(columns, Column.TIME)
    for row in rows:
        cells = list(row)
        for position in times:
            cells[position] = format_timestamp(cells[position])
        yield cells


def _write_csv(file: IO[str], columns: Mapping[str, Column], rows: Iterable[list[Any]]) -> int:
    texts, count = _positions(columns, Column.TEXT), 0
    writer = csv.writer(file, lineterminator="\n")
    quoting_writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)  # the other one ignores a lone \\r
    writer.writerow(columns)
    for cells in rows:
        count += 1
        has_return = False
        for position in texts:
            text = cells[position]
            has_return = has_return or "\r" in text
            if text.startswith(_FORMULA_PREFIXES):
                cells[position] = f"'{text}"
        (quoting_writer if has_return else writer).writerow(cells)
    return count


def _write_jsonl(file: IO[str], columns: Mapping[str, Column], rows: Iterable[list[Any]]) -> int:
    count = 0
    for cells in rows:
        count += 1
        file.write(json.dumps(dict(zip(columns, cells, strict=True)), ensure_ascii=False) + "\n")
    return count


def _write_parquet(file: IO[bytes], columns: Mapping[str, Column], rows: Iterable[Sequence[Any]]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    types = {Column.COUNT: pa.int32(), Column.TIME: pa.timestamp("ms", tz="UTC")}
    schema = pa.schema([(name, types.get(column, pa.string())) for name, column in columns.items()])
    iterator, count = iter(rows), 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(iterator, _ROW_GROUP)):
            cells: list[Sequence[Any]] = list(zip(*group, strict=True))
            for position in _positions(columns, Column.TIME):
                cells[position] = [None if at is None else round(at * 1000) for at in cells[position]]
            arrays = [pa.array(values, kind) for values, kind in zip(cells, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count
