"""Parses Parquet manifests with pyarrow, which is imported on first use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

from asyncgg.errors import ManifestError, UsageError
from asyncgg.manifest.column_names import as_strings, find_valid_rows, valid_columns
from asyncgg.manifest.rows import BadRow, Chunk, find_columns, printable
from asyncgg.name_columns import NameColumns

_BATCH_SIZE: Final = 16_384
"""Rows per batch."""


def parquet_chunks(name: str, file: BinaryIO) -> Iterator[Chunk]:
    """Read the columns `core` and `thing` of the seekable `file` into chunks of validated rows.

    Raises `ManifestError` for a corrupt file or a missing column, `UsageError` if pyarrow is not
    installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError(
            f"{name}: Parquet requires pyarrow; install asyncgg[parquet], or save the manifest as CSV"
        ) from None
    try:
        # With pre_buffer a whole row group would be in memory.
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        names = parquet.schema_arrow.names
        columns = find_columns(name, names)
        if columns is None:
            raise ManifestError(
                f"{name} lacks a column: found {', '.join(f'`{printable(column)}`' for column in names[:20])}; "
                "name two columns `core` and `thing` (or `coreDeviceThingName`, `thingName`)"
            )
        selected = [names[columns.core], names[columns.thing]]
        for column in selected:
            _check_type(name, column, parquet.schema_arrow.field(column).type, pa)
        number = 1
        for batch in parquet.iter_batches(batch_size=_BATCH_SIZE, columns=selected, use_threads=False):
            cores, things = (batch.column(batch.schema.get_field_index(column)) for column in selected)
            yield _parse_batch(name, number, cores, things)
            number += len(cores)
    except (pa.ArrowException, OSError) as error:
        text = str(error).split("\n", 1)[0]
        raise ManifestError(
            f"{name} is not a readable Parquet file ({printable(text)}); write the file again"
        ) from None


def _check_type(name: str, column: str, column_type: Any, pa: Any) -> None:
    value_type = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    types = pa.types
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    # Some writers do not mark text: bytes are decoded as UTF-8.
    binaries = (types.is_binary, types.is_large_binary, types.is_binary_view)
    if not any(check(value_type) for check in (*checks, *binaries)):
        raise ManifestError(f"{name}: column `{printable(column)}` has type {column_type}; store the names as strings")


def _parse_batch(name: str, first: int, cores: Any, things: Any) -> Chunk:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        columns = as_strings(cores), as_strings(things)
    except pa.ArrowException:  # bytes that are not UTF-8, or a type that this version cannot cast
        return _parse_rows(name, range(first, first + len(cores)), cores, things)
    if (good := valid_columns(*columns)) is not None:
        return Chunk(good=good)
    is_valid = find_valid_rows(*columns)
    others = pc.indices_nonzero(pc.invert(is_valid))
    chunk = _parse_rows(name, (first + index for index in others.to_pylist()), cores.take(others), things.take(others))
    if chunk.good:  # between the valid rows
        return _parse_rows(name, range(first, first + len(cores)), cores, things)
    return Chunk(NameColumns(*columns).filter(is_valid), chunk.bad, chunk.headers)


def _parse_rows(name: str, numbers: Iterable[int], cores: Any, things: Any) -> Chunk:
    chunk = Chunk()
    for number, core, thing in zip(numbers, cores.to_pylist(), things.to_pylist(), strict=True):
        try:
            pair = _decode(core), _decode(thing)
        except UnicodeDecodeError:
            reason: str | None = "is not UTF-8"
        else:
            reason = chunk.add_row(number, *pair)
        if reason is not None:
            chunk.bad.append(BadRow(name, number, reason, f"{_format_cell(core)},{_format_cell(thing)}"))
    return chunk


def _decode(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _format_cell(value: Any) -> str:
    return "null" if value is None else printable(value)
