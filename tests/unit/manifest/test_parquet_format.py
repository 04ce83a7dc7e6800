"""Tests of Parquet manifests."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import ManifestError, UsageError
from asyncgg.manifest import open_manifest, parquet_format
from asyncgg.manifest.parquet_format import parquet_chunks
from asyncgg.name_columns import NameColumns
from tests.support.manifest import read_all

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MANY_PAIRS = [(f"c{at // 100}", f"t{at}") for at in range(40_000)]


def write_table(path: Path, columns: dict[str, Any], **options: Any) -> str:
    """Write a table and return its path."""
    file = path / "fleet.parquet"
    pq.write_table(pa.table(columns), file, **options)
    return str(file)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_parquet_chunks_reads_every_text_type(tmp_path: Path, kind: Any) -> None:
    """Every type of text gives the pairs in order, across batches and row groups."""
    names = [pa.array([pair[at] for pair in MANY_PAIRS]).cast(kind) for at in (0, 1)]
    columns = {"thingName": names[1], "n": list(range(len(MANY_PAIRS))), "coreDeviceThingName": names[0]}
    spec = write_table(tmp_path, columns, row_group_size=15_000)
    assert read_all(open_manifest(spec).chunks()) == (MANY_PAIRS, [])


def test_parquet_chunks_converted_header_is_left_out(tmp_path: Path) -> None:
    """The header of a CSV that was converted to Parquet is counted and is no association."""
    columns = {"core": ["a", "core", "a"], "thing": ["b", "thing", "b"]}
    chunks = list(open_manifest(write_table(tmp_path, columns)).chunks())
    assert read_all(chunks) == ([("a", "b")] * 2, [])
    assert chunks[0].headers == [2]


def test_parquet_chunks_bad_row_has_its_number(tmp_path: Path) -> None:
    """Nulls, invalid names and invalid bytes are bad rows, numbered across batches."""
    cores: list[bytes | None] = [b"c"] * 20_000
    things: list[bytes | None] = [b"t"] * 20_000
    cores[0], things[16_384], things[16_385], things[19_999] = None, b"", b"a\nb", b"\xff"
    good, bad = read_all(open_manifest(write_table(tmp_path, {"core": cores, "thing": things})).chunks())
    assert len(good) == 19_996
    assert [(row.line, row.reason, row.raw) for row in bad] == [
        (1, "core is null", "null,t"),
        (16_385, "thing is empty", "c,"),
        (16_386, "thing contains characters outside a-z A-Z 0-9 : _ -", r"c,a\nb"),
        (20_000, "is not UTF-8", r"c,\xff"),
    ]


def test_parquet_chunks_line_break_in_a_name_is_invalid(tmp_path: Path) -> None:
    """The fast check of many names does not read a line break as two names."""
    good, bad = read_all(open_manifest(write_table(tmp_path, {"core": ["a", "a"], "thing": ["b", "b\nb"]})).chunks())
    assert good == [("a", "b")]
    assert [row.line for row in bad] == [2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"core": ["a"], "name": ["b"]}, " lacks a column: found `core`, `name`; name two columns `core` and `thing`"),
        ({"core": ["a"], "thing": [7]}, ": column `thing` has type int64; store the names as strings"),
        ({"core": ["a"], "thing": ["b"], "Thing": ["b"]}, ": column `thing` occurs twice (`thing`, `Thing`)"),
        ({"core": pa.array([], pa.string()), "thing": pa.array([], pa.string())}, " has no associations"),
    ],
)
def test_parquet_manifest_unusable_table_raises(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    """A table without two columns of text is an error that names the file."""
    spec = write_table(tmp_path, columns)
    with pytest.raises(ManifestError) as caught:
        read_all(open_manifest(spec).chunks())
    assert str(caught.value).startswith(spec + message)


@pytest.mark.parametrize("cut", [0, 4, 100, -20])
def test_parquet_manifest_truncated_file_raises(tmp_path: Path, cut: int) -> None:
    """A truncated file is an error of one line."""
    file = Path(write_table(tmp_path, {"core": ["a"], "thing": ["b"]}))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ManifestError, match="is not a readable Parquet file") as caught:
        read_all(open_manifest(str(file)).chunks())
    assert "\n" not in str(caught.value)


def test_parquet_manifest_corrupt_page_raises(tmp_path: Path) -> None:
    """Corruption that is detected while reading is the same error."""
    columns = {"core": [pair[0] for pair in MANY_PAIRS], "thing": [pair[1] for pair in MANY_PAIRS]}
    file = Path(write_table(tmp_path, columns, use_dictionary=False))
    data = bytearray(file.read_bytes())
    data[4:60_000] = os.urandom(59_996)
    file.write_bytes(data)
    with pytest.raises(ManifestError, match="is not a readable Parquet file"):
        read_all(open_manifest(str(file)).chunks())


def test_parquet_manifest_from_a_pipe_is_read(tmp_path: Path) -> None:
    """Parquet from a pipe is read through a temporary copy."""
    data = Path(write_table(tmp_path, {"core": ["a"], "thing": ["b"]})).read_bytes()
    ends = os.pipe()

    def write() -> None:
        with os.fdopen(ends[1], "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(ends[0], "rb") as stdin:
        assert read_all(open_manifest("-", format="parquet", stdin=stdin).chunks()) == ([("a", "b")], [])
    writer.join()


def test_parquet_chunks_without_pyarrow_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional package the error names what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"Parquet requires pyarrow; install asyncgg\[parquet\]"):
        read_all(open_manifest("-", format="parquet", stdin=io.BytesIO(b"PAR1")).chunks())


CELLS = st.sampled_from([None, b"a", b"b-1", b"core", b"Thing", b"", b"a b", b"\xff", b"\xc3\xa4", b"n" * 129])


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6),
    st.sampled_from([pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]),
)
def test_parquet_chunks_columns_equal_single_rows(rows: list[tuple[bytes | None, bytes | None]], kind: Any) -> None:
    """Columns give the same rows, bad rows and numbers as rows that are parsed one by one."""
    if kind != pa.binary():
        rows = [row for row in rows if b"\xff" not in row]
    arrays = [pa.array(names, pa.binary()).cast(kind) for names in zip(*(rows or [(b"a", b"b")]), strict=True)]
    file = io.BytesIO()
    pq.write_table(pa.table(dict(zip(("core", "thing"), arrays, strict=True))), file)
    chunks = list(parquet_chunks("fleet", file))
    with mock.patch.object(parquet_format, "as_strings", side_effect=pa.ArrowInvalid):
        assert read_all(parquet_chunks("fleet", file)) == read_all(chunks)


def test_parquet_chunks_bad_row_costs_only_itself(tmp_path: Path) -> None:
    """The rows next to a bad one stay columns."""
    things = [f"t{number}" for number in range(5000)]
    things[2500] = "t 2500"
    (chunk,) = open_manifest(write_table(tmp_path, {"core": ["c"] * 5000, "thing": things})).chunks()
    assert isinstance(chunk.good, NameColumns)
    assert (len(chunk.good), [row.line for row in chunk.bad]) == (4999, [2501])
