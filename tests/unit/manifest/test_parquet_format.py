"""Rule: Parquet manifests, each input beside what comes of it."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from asyncgg.errors import ManifestError, UsageError
from asyncgg.manifest import open_manifest
from tests.support.manifest import read_all

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MANY_PAIRS = [(f"c{at // 100}", f"t{at}") for at in range(40_000)]


def write_table(path: Path, columns: dict[str, Any], **options: Any) -> str:
    """Write a table and give its path."""
    file = path / "fleet.parquet"
    pq.write_table(pa.table(columns), file, **options)
    return str(file)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_text_columns_are_read(tmp_path: Path, kind: Any) -> None:
    """Every way of storing text gives the pairs in their order, over batches and row groups; other columns are left."""
    names = [pa.array([pair[at] for pair in MANY_PAIRS]).cast(kind) for at in (0, 1)]
    columns = {"thingName": names[1], "n": list(range(len(MANY_PAIRS))), "coreDeviceThingName": names[0]}
    spec = write_table(tmp_path, columns, row_group_size=15_000)
    assert read_all(open_manifest(spec).chunks()) == (MANY_PAIRS, [])


def test_bad_rows_are_numbered(tmp_path: Path) -> None:
    """Nulls, bad names and bad bytes are bad rows by their number, counted over batches."""
    cores: list[bytes | None] = [b"c"] * 20_000
    things: list[bytes | None] = [b"t"] * 20_000
    cores[0], things[16_384], things[16_385], things[19_999] = None, b"", b"a\nb", b"\xff"
    good, bad = read_all(open_manifest(write_table(tmp_path, {"core": cores, "thing": things})).chunks())
    assert len(good) == 19_996
    assert [(row.line, row.reason, row.raw) for row in bad] == [
        (1, "core is null", "null,t"),
        (16_385, "thing is empty", "c,"),
        (16_386, "thing has characters outside a-z A-Z 0-9 : _ -", r"c,a\nb"),
        (20_000, "is not UTF-8", r"c,\xff"),
    ]


def test_a_line_break_does_not_make_two_names(tmp_path: Path) -> None:
    """Names are checked many at once, and still a line break between two valid names is one bad name."""
    good, bad = read_all(open_manifest(write_table(tmp_path, {"core": ["a", "a"], "thing": ["b", "b\nb"]})).chunks())
    assert good == [("a", "b")]
    assert [row.line for row in bad] == [2]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"core": ["a"], "name": ["b"]}, " lacks a column: it has `core`, `name`; it must have `core` and `thing`"),
        ({"core": ["a"], "thing": [7]}, ": column `thing` holds int64, not text: store the names as strings"),
        ({"core": ["a"], "thing": ["b"], "Thing": ["b"]}, ": column `thing` is there twice (`thing`, `Thing`)"),
        ({"core": pa.array([], pa.string()), "thing": pa.array([], pa.string())}, " has no associations"),
    ],
)
def test_unusable_table_is_one_sentence(tmp_path: Path, columns: dict[str, Any], sentence: str) -> None:
    """A table without the two columns of text ends with one sentence that names the file."""
    spec = write_table(tmp_path, columns)
    with pytest.raises(ManifestError) as caught:
        read_all(open_manifest(spec).chunks())
    assert str(caught.value).startswith(spec + sentence)


@pytest.mark.parametrize("cut", [0, 4, 100, -20])
def test_broken_file_is_one_sentence(tmp_path: Path, cut: int) -> None:
    """A cut or foreign file is called so."""
    file = Path(write_table(tmp_path, {"core": ["a"], "thing": ["b"]}))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ManifestError, match="cannot be read as Parquet") as caught:
        read_all(open_manifest(str(file)).chunks())
    assert "\n" not in str(caught.value)


def test_broken_page_is_one_sentence(tmp_path: Path) -> None:
    """Damage that shows only in the middle of reading is a sentence too."""
    columns = {"core": [pair[0] for pair in MANY_PAIRS], "thing": [pair[1] for pair in MANY_PAIRS]}
    file = Path(write_table(tmp_path, columns, use_dictionary=False))
    data = bytearray(file.read_bytes())
    data[4:60_000] = os.urandom(59_996)
    file.write_bytes(data)
    with pytest.raises(ManifestError, match="cannot be read as Parquet"):
        read_all(open_manifest(str(file)).chunks())


def test_standard_input_is_copied_to_seek(tmp_path: Path) -> None:
    """Parquet through a pipe is read from a temporary copy."""
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


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional package the sentence says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"reading Parquet needs pyarrow: install asyncgg\[parquet\]"):
        read_all(open_manifest("-", format="parquet", stdin=io.BytesIO(b"PAR1")).chunks())
