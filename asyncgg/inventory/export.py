"""Export the associations of a snapshot as CSV, JSONL or Parquet, streamed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_binary, atomic_write_text
from asyncgg.formatting import format_timestamp
from asyncgg.inventory.snapshot import Snapshot

# `core` and `thing` come first, so that an export is a manifest. Cells are not escaped for
# spreadsheets: names have only letters, digits, `:`, `_` and `-`, and a name that starts with `-`
# must not change.
COLUMNS: Final = ("core", "thing", "associated_at", "core_status", "core_last_status_at")

_ROW_GROUP_SIZE: Final = 20_000
"""Rows of a Parquet row group, which are held in memory."""
_FORMATS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def export_format(path: Path) -> str | None:
    """`csv`, `jsonl` or `parquet` by the suffix; None for another one, which means a snapshot.

    Raises `UsageError` for gzipped Parquet, and for Parquet without pyarrow.
    """
    name = path.name.lower()
    uncompressed = name.removesuffix(".gz")
    file_format = next((candidate for ending, candidate in _FORMATS.items() if uncompressed.endswith(ending)), None)
    if file_format == "parquet":
        if uncompressed != name:
            raise UsageError(f"{path}: Parquet is already compressed; use the suffix .parquet")
        _pyarrow(path)
    return file_format


def export(snapshot: Snapshot, path: Path) -> int:
    """Write the associations to `path`, in the format of its suffix; returns their number.

    Raises `UsageError` when that fails; `path` is then unchanged.
    """
    file_format = export_format(path)
    if file_format is None:
        raise UsageError(f"{path}: unknown format; use the suffix .csv, .jsonl or .parquet")
    if file_format == "parquet":
        with atomic_write_binary(path, snapshot.path, "snapshot") as file:
            return _parquet(file, snapshot, path)
    return write_list(path, snapshot.path, COLUMNS, _format_rows(_rows(snapshot)))


def write_list(path: Path, source: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write `rows` of the snapshot `source` to .csv or .jsonl (also .gz); returns their number.

    Raises `UsageError` as `export`.
    """
    file_format = export_format(path)
    if file_format not in {"csv", "jsonl"}:
        raise UsageError(f"{path}: unknown format; use the suffix .csv or .jsonl (also .gz)")
    with atomic_write_text(path, source, "snapshot") as file:
        return (_csv if file_format == "csv" else _jsonl)(file, columns, rows)


def _rows(snapshot: Snapshot) -> Iterator[tuple[str, str, float | None, str, float | None]]:
    cores = {core.device.name: core.device for core in snapshot.cores()}
    for name, thing, at in snapshot.associations():
        core = cores[name]
        yield name, thing, at, core.status, core.last_status_at


def _format_rows(rows: Iterator[tuple[str, str, float | None, str, float | None]]) -> Iterator[tuple[str, ...]]:
    for core, thing, at, status, last in rows:
        yield core, thing, format_timestamp(at), status, format_timestamp(last)


def _csv(file: IO[str], columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


def _jsonl(file: IO[str], columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")
        count += 1
    return count


def _parquet(file: IO[bytes], snapshot: Snapshot, path: Path) -> int:
    arrow, parquet = _pyarrow(path)
    string_type, timestamp_type = arrow.string(), arrow.timestamp("ms", tz="UTC")
    column_types = (string_type, string_type, timestamp_type, string_type, timestamp_type)
    schema = arrow.schema(list(zip(COLUMNS, column_types, strict=True)))
    rows, count = _rows(snapshot), 0
    with parquet.ParquetWriter(file, schema) as writer:
        while chunk := list(islice(rows, _ROW_GROUP_SIZE)):
            columns = [
                [_milliseconds(value) for value in column] if column_type is timestamp_type else list(column)
                for column, column_type in zip(zip(*chunk, strict=True), column_types, strict=True)
            ]
            arrays = [
                arrow.array(column, column_type) for column, column_type in zip(columns, column_types, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(chunk)
    return count


def _milliseconds(at: Any) -> int | None:
    return None if at is None else round(at * 1000)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{path}: Parquet requires pyarrow; install it with: pip install 'asyncgg[parquet]'") from None
    return pyarrow, pyarrow.parquet
