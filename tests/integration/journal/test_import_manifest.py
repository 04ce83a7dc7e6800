"""A manifest that is imported as columns, and the same row by row."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncgg.errors import ManifestError
from asyncgg.journal import Importer
from asyncgg.journal import importer as importer_module
from asyncgg.manifest import ProtectList, column_names, csv_lines, open_manifest, parquet_format
from tests.support.journal import query_file, temporary_folder

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PROTECT = ProtectList(("a1", "core:c*"))
NAMES = st.sampled_from(["a", "a1", "b-2", "c:3", "c4", "n" * 128])
BAD_NAMES = st.sampled_from(["", "core", "thingName", "n" * 129, "a b", "ä", '"a', '"a"', "\0", "a\r", "\ufeffa"])
HEADERS = st.sampled_from(["core,thing\n", "thing,core,note\n", "note,core,thing\r\n", "core,x,y,thingName\n"])
Imported = tuple[list[Any], list[Any], int, int] | str


def import_file(file: Path, limit: int) -> Imported:
    """The names in the journal, the bad rows, and the numbers of headers and protected rows."""
    bad, headers, protected = [], 0, 0
    path = file.with_suffix(".journal")
    with mock.patch.multiple(importer_module, _MAX_BUFFERED=limit, _STAGED_NAMES=3):
        importer = Importer(path)
        try:
            for chunk in open_manifest(str(file)).chunks(allow_empty=True):
                pairs = PROTECT.without_protected(chunk.good)
                protected += len(chunk.good) - len(pairs)
                importer.add(pairs)
                bad += chunk.bad
                headers += len(chunk.headers)
            importer.finish({})
            rows = [
                *query_file(path, "SELECT * FROM core"),
                *query_file(path, "SELECT * FROM name_block"),
                *query_file(path, "SELECT * FROM meta ORDER BY key"),
            ]
            return rows, bad, headers, protected
        except ManifestError as error:
            return str(error)
        finally:
            importer.discard()
            path.unlink(missing_ok=True)


@st.composite
def csv_bytes(draw: st.DrawFn) -> bytes:
    """A CSV of mostly clean rows, or with any bytes in it."""
    header = draw(HEADERS)
    cells = st.one_of(NAMES, NAMES, NAMES, BAD_NAMES) if draw(st.booleans()) else NAMES
    width = header.count(",") + 1
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width).map(",".join), max_size=12))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    data = (header + "".join(row + end for row in rows)).encode()
    cut = draw(st.integers(0, len(data)))
    return data[:cut] + draw(st.one_of(st.just(b""), st.binary(max_size=8))) + data[cut:]


@settings(max_examples=80, deadline=None)
@given(csv_bytes(), st.sampled_from([1, 300, 100_000]))
@example(b"core,thing\nb,a\nc,x\nb,a\nb,a1\n", 1)
def test_import_of_csv_as_columns_equals_row_by_row(data: bytes, limit: int) -> None:
    """Any bytes give the same journal, bad rows, headers and protected rows in both ways."""

    def read(**options: Any) -> Imported:
        with mock.patch.multiple(column_names, **options):
            return import_file(file, limit)

    with temporary_folder() as folder:
        file = folder / "fleet.csv"
        file.write_bytes(data)
        as_columns = read(MIN_SIZE=1, MIN_BLOCK=1)
        with (
            mock.patch.object(csv_lines.PlainLines, "split", return_value=None),
            mock.patch.object(csv_lines, "_run_pattern", return_value=""),
        ):
            assert read(MIN_SIZE=1 << 40) == as_columns


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.one_of(NAMES, NAMES, BAD_NAMES, st.none()), NAMES), max_size=12),
    st.sampled_from([pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]),
    st.sampled_from([1, 100_000]),
)
def test_import_of_parquet_as_columns_equals_row_by_row(
    rows: list[tuple[str | None, str]], kind: Any, limit: int
) -> None:
    """Any values give the same journal, bad rows, headers and protected rows in both ways."""
    with temporary_folder() as folder:
        file = folder / "fleet.parquet"
        columns = (pa.array([row[index] for row in rows], pa.string()) for index in (0, 1))
        pq.write_table(pa.table([column.cast(kind) for column in columns], ["core", "thing"]), file)
        as_columns = import_file(file, limit)
        with mock.patch.object(parquet_format, "as_strings", side_effect=pa.ArrowInvalid):
            assert import_file(file, limit) == as_columns


@pytest.mark.parametrize("prepare", [lambda text: text, lambda text: text.replace("\n", "\r\n")], ids=["lf", "crlf"])
def test_large_csv_is_read_as_columns(tmp_path: Path, prepare: Callable[[str], str]) -> None:
    """A manifest above the limit makes no object per name, except for the rows before the limit."""
    lines = [f"core-{number % 7},device-{number}\n" for number in range(20_000)]
    file = tmp_path / "fleet.csv"
    file.write_text(prepare("core,thing\n" + "".join(lines)), newline="")
    with mock.patch.multiple(column_names, MIN_SIZE=1, MIN_BLOCK=1):
        chunks = list(open_manifest(str(file)).chunks())
    assert not [chunk for chunk in chunks if isinstance(chunk.good, list)]
    assert (
        io.StringIO("".join(f"{core},{thing}\n" for chunk in chunks for core, thing in chunk.good)).readlines() == lines
    )
