"""Tests of CSV manifests."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from asyncgg.errors import ManifestError
from asyncgg.manifest import open_manifest
from asyncgg.manifest.csv_format import csv_chunks
from asyncgg.manifest.sources import MAX_LINE
from tests.support.manifest import read_all, read_bytes, read_file

ONE_PAIR = [("a", "b")]
INVALID_CHARACTERS = "contains characters outside a-z A-Z 0-9 : _ -"


@pytest.mark.parametrize(
    ("data", "pairs"),
    [
        pytest.param(b"core,thing\na,b\n", ONE_PAIR, id="plain"),
        pytest.param(b"core,thing\na,b", ONE_PAIR, id="no line feed at the end"),
        pytest.param(b"core,thing\r\na,b\r\n", ONE_PAIR, id="CRLF"),
        pytest.param(b"\xef\xbb\xbfcore,thing\na,b\n", ONE_PAIR, id="byte order mark"),
        pytest.param(b"coreDeviceThingName,thingName\na,b\n", ONE_PAIR, id="aliases"),
        pytest.param(b"THINGNAME, Core \nb,a\n", ONE_PAIR, id="any case, blanks, other order"),
        pytest.param(b"\n  \ncore,thing\n\n\t\na,b\n\r\n", ONE_PAIR, id="blank lines"),
        pytest.param(b"core,thing\n  a\t, b \n", ONE_PAIR, id="blanks around values"),
        pytest.param(b'core,thing\n" a ","b "\n', ONE_PAIR, id="blanks inside quotes"),
        pytest.param(b'core,thing\n "a" , "b" \n', ONE_PAIR, id="blanks outside quotes"),
        pytest.param(b'core,thing\n"a",b\n', ONE_PAIR, id="one quoted"),
        pytest.param(b'core,thing\na\xc2\xa0,"b"\n', ONE_PAIR, id="no-break space"),
        pytest.param(b'"core";"thing"\n"a";"b"\n', ONE_PAIR, id="semicolons"),
        pytest.param(b"core\tthing\na\tb\n", ONE_PAIR, id="tabs"),
        pytest.param(b"note,core,thing\nx,a,b\n", ONE_PAIR, id="further column before"),
        pytest.param(
            b"core,note,thing\na,\xc3\xa4 \xe2\x82\xac,b\n", ONE_PAIR, id="further column with other characters"
        ),
        pytest.param(b'core,thing,note\na,b,"one, ""two"",\nthree"\n', ONE_PAIR, id="further column over two lines"),
        pytest.param(b"core,thing,note\na,b\n", ONE_PAIR, id="further column left out"),
        pytest.param(b"core,thing\na,b,surplus\n", ONE_PAIR, id="surplus behind the names"),
        pytest.param(b"note,core,thing\nx,a,b,,\n", ONE_PAIR, id="empty surplus"),
        pytest.param(
            b"core,thing\na:1_-Z," + b"b" * 128 + b"\n", [("a:1_-Z", "b" * 128)], id="all characters, longest"
        ),
        pytest.param(b"core,thing\na,b\na,b\n", ONE_PAIR * 2, id="duplicates stay in"),
        pytest.param(b'\nsep=;\r\n"core";"thing"\r\na;b\r\n', ONE_PAIR, id="delimiter line of Excel"),
        pytest.param(b"\xef\xbb\xbfsep=\t\ncore\tthing\na\tb\n", ONE_PAIR, id="tab line of Excel"),
        pytest.param(b"core,thing\n\xef\xbb\xbfa,b\n", ONE_PAIR, id="byte order mark in the middle"),
    ],
)
def test_csv_chunks_valid_file_gives_pairs(tmp_path: Path, data: bytes, pairs: list[tuple[str, str]]) -> None:
    """Every form of a valid CSV gives its pairs and no bad row."""
    assert read_file(tmp_path, "fleet.csv", data) == (pairs, [])


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        (b"c", 2, "column `thing` is missing"),
        (b"c,", 2, "thing is empty"),
        (b",d", 2, "core is empty"),
        (b",", 2, "core is empty; thing is empty"),
        (b'"",  ', 2, "core is empty; thing is empty"),
        (b"c," + b"d" * 129, 2, "thing has 129 characters (maximum 128)"),
        (b"c c,d", 2, f"core {INVALID_CHARACTERS}"),
        (b"c,d\xc3\xa4", 2, f"thing {INVALID_CHARACTERS}"),
        (b"c,d\x1f", 2, f"thing {INVALID_CHARACTERS}"),
        (b"c,d\xff", 2, "is not UTF-8"),
        (b"c,d\0", 2, "contains a NUL byte"),
        (b"c\rx,d", 2, "contains a bare carriage return"),
        (b'"c"x,d', 2, "has text after a closing quote"),
        (b'c,"d', 2, "has an unclosed quote"),
        (b'\n\nc,"d"x', 4, "has text after a closing quote"),
        (b"c," + b"d" * MAX_LINE, 2, "is longer than 65536 bytes"),
        (b"c," + b"d" * 1_000_000, 2, "is longer than 65536 bytes"),
    ],
)
def test_csv_chunks_bad_row_is_reported_and_skipped(tmp_path: Path, rows: bytes, line: int, reason: str) -> None:
    """A bad row has its line and reason, and the rows around it are read."""
    good, bad = read_file(tmp_path, "fleet.csv", b"core,thing\n" + rows + b"\na,b\n")
    assert bad == [(line, reason)]
    assert good == ONE_PAIR


@pytest.mark.parametrize(
    ("first", "again", "rows"),
    [
        pytest.param(b"core,thing", b"core,thing", b"a,b", id="equal"),
        pytest.param(b"core,thing", b"\xef\xbb\xbfcore,thing\r", b"a,b", id="byte order mark and CRLF"),
        pytest.param(b"core,thing", b'"core","thing"', b"a,b", id="quoted"),
        pytest.param(b"\xef\xbb\xbfcore,thing", b'\xef\xbb\xbf"Core" , "Thing"', b"a,b", id="case, blanks"),
        pytest.param(b"core,thing", b"coreDeviceThingName,thingName", b"a,b", id="the other names"),
        pytest.param(b"core,thing,note", b"core,thing,note", b"a,b,x", id="further column"),
        pytest.param(b"thing;note;core", b"thing;note;core", b"b;x;a", id="other order"),
        pytest.param(b"sep=;\ncore;thing", b"sep=;\ncore;thing", b"a;b", id="delimiter line of Excel"),
    ],
)
def test_csv_chunks_repeated_header_is_left_out(tmp_path: Path, first: bytes, again: bytes, rows: bytes) -> None:
    """A header inside the data, from files that were put together, is counted and is no association."""
    data = first + b"\n" + rows + b"\n" + again + b"\n" + rows + b"\n"
    (tmp_path / "fleet.csv").write_bytes(data)
    chunks = list(open_manifest(str(tmp_path / "fleet.csv")).chunks())
    assert read_all(chunks) == (ONE_PAIR * 2, [])
    assert [line for chunk in chunks for line in chunk.headers] == [data.count(b"\n") - 1]


def test_csv_chunks_gzip_members_have_a_header_each(tmp_path: Path) -> None:
    """Compressed files can be put together as well."""
    member = gzip.compress(b"core,thing\na,b\n", mtime=0)
    assert read_file(tmp_path, "fleet.csv.gz", member * 3) == (ONE_PAIR * 3, [])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"core,thing\na,b\nthing,core\nd,c\n", "is a header with other columns than the first one; keep"),
        (b"core,thing,n\na,b,1\nn,core,thing\n1,c,d\n", "is a header with other columns than the first one; keep"),
        (b"core,thing\na,b\nc,dcore,thing\n", "ends with a header: the file before it has no line feed"),
        (b"core,thing,n\na,b,\nc,d,1\xef\xbb\xbfcore,thing,n\n", "ends with a header: the file before it has no line"),
    ],
)
def test_csv_chunks_misplaced_header_is_a_bad_row(tmp_path: Path, data: bytes, reason: str) -> None:
    """A header that changes the columns, or continues a row, is no association either."""
    bad = read_file(tmp_path, "fleet.csv", data)[1]
    assert [(line, text[: len(reason)]) for line, text in bad] == [(3, reason)]


def test_csv_chunks_names_like_columns_are_associations(tmp_path: Path) -> None:
    """Only a row of both column names is a header."""
    data = b"core,thing,n\ncore,t,x\nc,thing,x\ncore-1,thing-1,core\ncores,things,\n"
    assert read_file(tmp_path, "fleet.csv", data) == (
        [("core", "t"), ("c", "thing"), ("core-1", "thing-1"), ("cores", "things")],
        [],
    )


def test_csv_chunks_hundreds_of_columns_are_read() -> None:
    """Rows with hundreds of other columns are read."""
    header = b",".join(b"x%d" % at for at in range(300))
    row = b",".join([b"text"] * 300)
    assert read_bytes(csv_chunks, header + b",core,thing\n" + row + b",a,b\n") == (ONE_PAIR, [])


def test_csv_chunks_multi_line_row_keeps_line_numbers() -> None:
    """After a row of several lines the line numbers are still physical."""
    good, bad = read_bytes(csv_chunks, b'core,thing,n\na,b,"1\n2\n3"\nc,\n"d","","\n"\n')
    assert good == ONE_PAIR
    assert [(row.line, row.reason, row.raw) for row in bad] == [
        (5, "thing is empty", "c,"),
        (6, "thing is empty", '"d","","\\n"'),
    ]


def test_csv_chunks_stray_quote_costs_only_its_row() -> None:
    """Inch marks and missing quotes are bad rows; the rows between them are read."""
    data = b'core,thing,size\na,b,"12\nc,d,13\ne,f,"14\ng,h,15\ni,"j\nk,l,16\n"m,n\n'
    good, bad = read_bytes(csv_chunks, data)
    assert good == [("c", "d"), ("g", "h"), ("k", "l")]
    assert [row.line for row in bad] == [2, 4, 6, 8]


def test_csv_chunks_quoted_name_over_lines_is_a_stray_quote() -> None:
    """Two stray quotes that close each other do not hide the rows between them."""
    good, bad = read_bytes(csv_chunks, b'core,thing\na,"b\nc,d\ne,f"\ng,h\n')
    assert good == [("c", "d"), ("g", "h")]
    assert [(row.line, row.reason) for row in bad] == [
        (2, "has a line break in a quoted name"),
        (4, "thing contains characters outside a-z A-Z 0-9 : _ -"),
    ]


def test_csv_chunks_unclosed_quote_costs_one_line() -> None:
    """A quote that is never closed costs only its own line, in a file of any length."""
    count = 20_000
    data = b'core,thing\na,"b\n' + b"".join(b"c,t%d\n" % at for at in range(count))
    good, bad = read_bytes(csv_chunks, data, step=4096)
    assert good == [("c", f"t{at}") for at in range(count)]
    assert [(row.line, row.reason) for row in bad] == [(2, "has an unclosed quote")]


def test_csv_chunks_quotes_reopened_on_every_line_stay_linear() -> None:
    """Lines that each close and reopen a quote are not read repeatedly."""
    count = 30_000
    good, bad = read_bytes(csv_chunks, b"core,thing\n" + b'a","b\n' * count)
    assert good == []
    assert [row.line for row in bad] == list(range(2, count + 2))


def test_csv_chunks_shifted_columns_are_a_bad_row() -> None:
    """An unquoted comma in a column before the names shifts them: the row is bad."""
    good, bad = read_bytes(csv_chunks, b"note,core,thing\nx,y,a,b\nx,a,b\n")
    assert good == ONE_PAIR
    assert [(row.line, row.reason) for row in bad] == [(2, "has 4 columns, the header has 3")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", " has no associations; write one row per association"),
        (b"\n \n", " has no associations; write one row per association"),
        (b"\xef\xbb\xbf", " has no associations; write one row per association"),
        (b"core,thing", " has no associations; write one row per association"),
        (b"core,thing\n\n\r\n", " has no associations; write one row per association"),
        (b"a,b\n", ":1: the header `a,b` lacks a column; the first line must name the columns `core` and `thing`"),
        (b"\ncore,name\na,b\n", ":2: the header `core,name` lacks a column; "),
        (b'"core,thing\na,b\n', ':1: the header `"core,thing` lacks a column; '),
        (b"core,thing,Thing\n", ":1: column `thing` occurs twice (`thing`, `Thing`); keep one of them"),
        (b"coreDeviceThingName,core,thing\n", ":1: column `core` occurs twice (`coreDeviceThingName`, `core`)"),
        (b"core,thing\ra,b\r", ":1: the lines end with bare carriage returns; save the file with LF or CRLF line ends"),
        (b"\x80core,thing\na,b\n", ":1: the header is not UTF-8 text; save the manifest as CSV in UTF-8"),
        ("core,thing\na,b\n".encode("utf-16-le"), ":1: the header is not UTF-8 text; "),
        ("core,thing\na,b\n".encode("utf-16"), " is UTF-16 text; save the file as UTF-8"),
        (b"\xfe\xff\0c", " is UTF-16 text; save the file as UTF-8"),
        (b"x" * 200_000, ":1: not a CSV manifest, the first line is longer than 65536 bytes; "),
        (b"PAR1....", " is a Parquet file; name the file .parquet or use --format parquet"),
        (b"PK\x03\x04....", " is a ZIP archive or an Excel file; save the file as CSV in UTF-8"),
        (bytes(range(128, 256)) * 50, ":1: the header is not UTF-8 text; "),
    ],
)
def test_csv_manifest_unusable_file_raises(tmp_path: Path, data: bytes, message: str) -> None:
    """A file that is not a manifest is an error of one line that names the file."""
    with pytest.raises(ManifestError) as caught:
        read_file(tmp_path, "fleet.csv", data)
    assert str(caught.value).startswith(f"{tmp_path}/fleet.csv{message}")
    assert "\n" not in str(caught.value)
