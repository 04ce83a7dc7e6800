"""Writes lists of outcomes as CSV, JSONL or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_binary, atomic_write_text
from asyncgg.formatting import format_timestamp, sanitize
from asyncgg.journal import OutcomeRow
from asyncgg.models import Operation, ThingState

COLUMNS: Final = ("core", "thing", "outcome", "code", "message", "attempts", "at", "request_id", "reason")
"""`core` and `thing` come first, so that a list is a manifest; only clean-ups have a `reason`."""

_OUTCOMES: Final = {
    ThingState.PENDING: "pending",
    ThingState.CLAIMED: "pending",
    ThingState.FAILED: "failed",
    ThingState.ALREADY: "already",
}
_FORMULA_PREFIXES: Final = ("=", "+", "-", "@", "\t", "\r")
_SUFFIXES: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_ROW_GROUP: Final = 50_000
"""Rows of a Parquet file that are in memory at a time."""


def format_from_suffix(path: Path) -> str:
    """Get `csv`, `jsonl` or `parquet` from the suffix of the name.

    Raises `UsageError` for other suffixes, and for Parquet without pyarrow.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        try:
            import pyarrow.parquet  # noqa: F401 - an installed but broken pyarrow is missing, too
        except ImportError:
            raise UsageError(f"{path}: Parquet requires pyarrow: pip install 'asyncgg[parquet]'") from None
        return "parquet"
    for suffix, file_format in _SUFFIXES.items():
        if name.removesuffix(".gz").endswith(suffix):
            return file_format
    raise UsageError(f"{path}: unknown suffix; use .csv or .jsonl, optionally followed by .gz, or .parquet")


def write_outcomes(
    path: Path, rows: Iterable[OutcomeRow], journal: Path, operation: Operation = Operation.DISASSOCIATE
) -> int:
    """Write `rows` of `journal` to `path`; returns their number. Raises `UsageError`."""
    file_format = format_from_suffix(path)
    if file_format == "parquet":
        with atomic_write_binary(path, journal) as binary:
            return _write_parquet(binary, rows, operation.past_participle)
    write = _write_csv if file_format == "csv" else _write_jsonl
    with atomic_write_text(path, journal) as file:
        return write(file, rows, operation.past_participle)


def write_target_outcomes(path: Path, rows: Iterable[tuple[str, OutcomeRow, Operation]]) -> int:
    """Write the rows of several targets, each with its target, to `path`; returns their number.

    The list is a manifest of a campaign. Raises `UsageError`.
    """
    file_format, columns, count = format_from_suffix(path), (*COLUMNS, "target"), 0
    if file_format == "parquet":
        raise UsageError(f"{path}: the list of a campaign is .csv or .jsonl, also .gz")
    is_csv = file_format == "csv"
    with atomic_write_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_csv:
            writer.writerow(columns)
        for target, row, operation in rows:
            values = (*_values(row, operation.past_participle), target)
            if is_csv:  # a manifest of a campaign has one line for each row
                cells = [_escape_formula(cell) if isinstance(cell, str) else cell for cell in values[2:]]
                cells = [sanitize(cell) if isinstance(cell, str) else cell for cell in cells]
                writer.writerow((*values[:2], *cells))
            else:
                file.write(json.dumps(dict(zip(columns, values, strict=True)), ensure_ascii=False) + "\n")
            count += 1
    return count


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]], journal: Path) -> int:
    """Write `rows` of texts of `journal` to `path`, by its suffix; returns their number. Raises `UsageError`."""
    file_format, count = format_from_suffix(path), 0
    if file_format == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        with atomic_write_binary(path, journal) as binary:
            schema = pa.schema([(name, pa.string()) for name in columns])
            table = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema=schema)
            parquet.write_table(table, binary, compression="zstd")
            return int(table.num_rows)
    with atomic_write_text(path, journal) as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        if file_format == "csv":
            writer.writerow(columns)
        for row in rows:
            if file_format == "csv":
                writer.writerow([_escape_formula(cell) for cell in row])
            else:
                file.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n")
            count += 1
    return count


def _values(row: OutcomeRow, done_label: str) -> tuple[Any, ...]:
    return (
        row.core,
        row.thing,
        _OUTCOMES.get(row.state, done_label),
        row.code,
        row.message,
        row.attempts,
        format_timestamp(row.answered_at),
        row.aws_request_id,
        row.reason,
    )


def _write_csv(file: IO[str], rows: Iterable[OutcomeRow], done_label: str) -> int:
    writer = csv.writer(file, lineterminator="\n")
    quoting_writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)  # the other one ignores a lone \\r
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        core, thing, outcome, code, message, *rest, reason = _values(row, done_label)
        cells = (core, thing, outcome, _escape_formula(code), _escape_formula(message), *rest, _escape_formula(reason))
        (quoting_writer if "\r" in code + message + reason else writer).writerow(cells)
        count += 1
    return count


def _write_jsonl(file: IO[str], rows: Iterable[OutcomeRow], done_label: str) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(dict(zip(COLUMNS, _values(row, done_label), strict=True)), ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_parquet(file: IO[bytes], rows: Iterable[OutcomeRow], done_label: str) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"attempts": pa.int32(), "at": pa.timestamp("ms", tz="UTC")}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _batched(rows, _ROW_GROUP):
            columns: list[Any] = list(zip(*(_values(row, done_label) for row in group), strict=True))
            times = [None if row.answered_at is None else round(row.answered_at * 1000) for row in group]
            columns[COLUMNS.index("at")] = times
            arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count


def _batched(rows: Iterable[OutcomeRow], size: int) -> Iterator[list[OutcomeRow]]:
    iterator = iter(rows)
    while group := list(islice(iterator, size)):
        yield group


def _escape_formula(cell: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula."""
    # Names need none: they have only letters, digits, `:`, `_` and `-`.
    return f"'{cell}" if cell.startswith(_FORMULA_PREFIXES) else cell
