"""Rule: a snapshot's associations as CSV, JSONL or Parquet live here: their columns, streamed.

`core` and `thing` come first, so that an export is itself a manifest. No cell needs a guard against spreadsheets: names
hold only letters, digits, `:`, `_` and `-`, and one that begins with `-` must stay the name it is.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from asyncgg.errors import UsageError
from asyncgg.inventory.snapshot import Snapshot
from asyncgg.manifest.writing import placed, timestamp, written

__all__ = ["COLUMNS", "export", "export_format", "write_list"]

COLUMNS: Final = ("core", "thing", "associated_at", "core_status", "core_last_status_at")

_ROWS: Final = 20_000
"""Of a Parquet row group: what is held in memory."""
_FORMATS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def export_format(path: Path) -> str | None:
    """`csv`, `jsonl` or `parquet` by the name's ending, None for any other: then a snapshot is meant.

    Raises `UsageError` for a gzipped Parquet, which nobody could read, and without pyarrow.
    """
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    found = next((form for ending, form in _FORMATS.items() if plain.endswith(ending)), None)
    if found == "parquet":
        if plain != name:
            raise UsageError(f"{path}: Parquet is compressed already: name it .parquet")
        _pyarrow(path)
    return found


def export(snapshot: Snapshot, path: Path) -> int:
    """Write every association of `snapshot` to `path`, in the format of its ending; how many there are.

    Raises `UsageError` when that is not possible; then nothing is left at `path` that was not there before.
    """
    form = export_format(path)
    if form is None:
        raise UsageError(f"{path}: the ending does not say the format: use .csv, .jsonl or .parquet")
    if form == "parquet":
        with placed(path, snapshot.path, "snapshot") as file:
            return _parquet(file, snapshot, path)
    return write_list(path, snapshot.path, COLUMNS, _told(_rows(snapshot)))


def write_list(path: Path, source: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write `rows`, made from the snapshot `source`, to a .csv or .jsonl (also .gz); how many there are.

    Raises `UsageError` as `export`.
    """
    form = export_format(path)
    if form not in {"csv", "jsonl"}:
        raise UsageError(f"{path}: the ending does not say the format: use .csv or .jsonl (also .gz)")
    with written(path, source, "snapshot") as file:
        return (_csv if form == "csv" else _jsonl)(file, columns, rows)


def _rows(snapshot: Snapshot) -> Iterator[tuple[str, str, float | None, str, float | None]]:
    """Every association with what is known of its core."""
    cores = {core.device.name: core.device for core in snapshot.cores()}
    for name, thing, at in snapshot.associations():
        core = cores[name]
        yield name, thing, at, core.status, core.last_status_at


def _told(rows: Iterator[tuple[str, str, float | None, str, float | None]]) -> Iterator[tuple[str, ...]]:
    for core, thing, at, status, last in rows:
        yield core, thing, timestamp(at), status, timestamp(last)


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
    text, moment = arrow.string(), arrow.timestamp("ms", tz="UTC")
    kinds = (text, text, moment, text, moment)
    schema = arrow.schema(list(zip(COLUMNS, kinds, strict=True)))
    rows, count = _rows(snapshot), 0
    with parquet.ParquetWriter(file, schema) as writer:
        while piece := list(islice(rows, _ROWS)):
            columns = [
                [_milliseconds(value) for value in column] if kind is moment else list(column)
                for column, kind in zip(zip(*piece, strict=True), kinds, strict=True)
            ]
            arrays = [arrow.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(piece)
    return count


def _milliseconds(at: Any) -> int | None:
    return None if at is None else round(at * 1000)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{path}: Parquet needs pyarrow: pip install 'asyncgg[parquet]'") from None
    return pyarrow, pyarrow.parquet
