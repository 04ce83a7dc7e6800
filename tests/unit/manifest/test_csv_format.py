"""Rule: CSV manifests, each input beside what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.errors import ManifestError
from asyncgg.manifest.csv_format import csv_chunks
from asyncgg.manifest.lines import MAX_LINE
from tests.support.manifest import read_bytes, read_file

ONE_PAIR = [("a", "b")]
INVALID_CHARACTERS = "has characters outside a-z A-Z 0-9 : _ -"


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
    ],
)
def test_good_files_give_their_pairs(tmp_path: Path, data: bytes, pairs: list[tuple[str, str]]) -> None:
    """Whatever form a valid CSV has, it gives its pairs and no bad row."""
    assert read_file(tmp_path, "fleet.csv", data) == (pairs, [])


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        (b"c", 2, "column `thing` is missing"),
        (b"c,", 2, "thing is empty"),
        (b",d", 2, "core is empty"),
        (b",", 2, "core is empty; thing is empty"),
        (b'"",  ', 2, "core is empty; thing is empty"),
        (b"c," + b"d" * 129, 2, "thing has 129 characters, 128 are allowed"),
        (b"c c,d", 2, f"core {INVALID_CHARACTERS}"),
        (b"c,d\xc3\xa4", 2, f"thing {INVALID_CHARACTERS}"),
        (b"c,d\x1f", 2, f"thing {INVALID_CHARACTERS}"),
        (b"c,d\xff", 2, "is not UTF-8"),
        (b"c,d\0", 2, "holds a NUL byte"),
        (b"c\rx,d", 2, "holds a bare carriage return"),
        (b'"c"x,d', 2, "text stands after a closing quote"),
        (b'c,"d', 2, "a quote opens here and is not closed"),
        (b'\n\nc,"d"x', 4, "text stands after a closing quote"),
        (b"c," + b"d" * MAX_LINE, 2, "is longer than 65536 bytes"),
        (b"c," + b"d" * 1_000_000, 2, "is longer than 65536 bytes"),
    ],
)
def test_bad_row_is_named_and_the_next_is_read(tmp_path: Path, rows: bytes, line: int, reason: str) -> None:
    """A bad row is listed with its line and reason, and the good rows around it are read."""
    good, bad = read_file(tmp_path, "fleet.csv", b"core,thing\n" + rows + b"\na,b\n")
    assert bad == [(line, reason)]
    assert good == ONE_PAIR


def test_very_wide_rows_are_read() -> None:
    """A few hundred further columns are no obstacle."""
    header = b",".join(b"x%d" % at for at in range(300))
    row = b",".join([b"text"] * 300)
    assert read_bytes(csv_chunks, header + b",core,thing\n" + row + b",a,b\n") == (ONE_PAIR, [])


def test_line_is_where_the_row_starts() -> None:
    """After a row of several lines the numbers are still those of an editor."""
    good, bad = read_bytes(csv_chunks, b'core,thing,n\na,b,"1\n2\n3"\nc,\n"d","","\n"\n')
    assert good == ONE_PAIR
    assert [(row.line, row.reason, row.raw) for row in bad] == [
        (5, "thing is empty", "c,"),
        (6, "thing is empty", '"d","","\\n"'),
    ]


def test_stray_quotes_cost_only_their_own_rows() -> None:
    """Inch marks and forgotten quotes are bad rows; the rows between them are not swallowed."""
    data = b'core,thing,size\na,b,"12\nc,d,13\ne,f,"14\ng,h,15\ni,"j\nk,l,16\n"m,n\n'
    good, bad = read_bytes(csv_chunks, data)
    assert good == [("c", "d"), ("g", "h"), ("k", "l")]
    assert [row.line for row in bad] == [2, 4, 6, 8]


def test_quoted_name_over_lines_is_a_stray_quote() -> None:
    """Two forgotten quotes that close each other do not hide the rows between them."""
    good, bad = read_bytes(csv_chunks, b'core,thing\na,"b\nc,d\ne,f"\ng,h\n')
    assert good == [("c", "d"), ("g", "h")]
    assert [(row.line, row.reason) for row in bad] == [
        (2, "a quoted name holds a line break"),
        (4, "thing has characters outside a-z A-Z 0-9 : _ -"),
    ]


def test_unclosed_quote_is_bounded() -> None:
    """A quote that never closes takes its own line only, however long the file goes on."""
    count = 20_000
    data = b'core,thing\na,"b\n' + b"".join(b"c,t%d\n" % at for at in range(count))
    good, bad = read_bytes(csv_chunks, data, step=4096)
    assert good == [("c", f"t{at}") for at in range(count)]
    assert [(row.line, row.reason) for row in bad] == [(2, "a quote opens here and is not closed")]


def test_quotes_that_reopen_on_every_line_stay_linear() -> None:
    """Lines that each close and reopen a quote are not read over and over."""
    count = 30_000
    good, bad = read_bytes(csv_chunks, b"core,thing\n" + b'a","b\n' * count)
    assert good == []
    assert [row.line for row in bad] == list(range(2, count + 2))


def test_surplus_before_the_names_is_a_bad_row() -> None:
    """An unquoted comma in a column before the names shifts them: such a row is never acted on."""
    good, bad = read_bytes(csv_chunks, b"note,core,thing\nx,y,a,b\nx,a,b\n")
    assert good == ONE_PAIR
    assert [(row.line, row.reason) for row in bad] == [(2, "has 4 columns, the header has 3")]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", " has no associations: it needs a row for each thing"),
        (b"\n \n", " has no associations: it needs a row for each thing"),
        (b"\xef\xbb\xbf", " has no associations: it needs a row for each thing"),
        (b"core,thing", " has no associations: it needs a row for each thing"),
        (b"core,thing\n\n\r\n", " has no associations: it needs a row for each thing"),
        (b"a,b\n", ":1: the header `a,b` lacks a column: the first line must name the columns `core` and `thing`"),
        (b"\ncore,name\na,b\n", ":2: the header `core,name` lacks a column: "),
        (b'"core,thing\na,b\n', ':1: the header `"core,thing` lacks a column: '),
        (b"core,thing,Thing\n", ":1: column `thing` is there twice (`thing`, `Thing`): keep one of them"),
        (b"coreDeviceThingName,core,thing\n", ":1: column `core` is there twice (`coreDeviceThingName`, `core`)"),
        (b"core,thing\ra,b\r", ":1: lines end with bare carriage returns: save the file with LF or CRLF line ends"),
        (b"\x80core,thing\na,b\n", ":1: the header is not UTF-8 text: save the manifest as CSV in UTF-8"),
        ("core,thing\na,b\n".encode("utf-16-le"), ":1: the header is not UTF-8 text: "),
        ("core,thing\na,b\n".encode("utf-16"), " is UTF-16 text: save the manifest as UTF-8"),
        (b"\xfe\xff\0c", " is UTF-16 text: save the manifest as UTF-8"),
        (b"x" * 200_000, ":1: the first line is longer than 65536 bytes, this is no CSV manifest: "),
        (b"PAR1....", " is Parquet: name it .parquet or give `--format parquet`"),
        (b"PK\x03\x04....", " is a ZIP archive or an Excel file: save the manifest as CSV in UTF-8"),
        (bytes(range(128, 256)) * 50, ":1: the header is not UTF-8 text: "),
    ],
)
def test_unusable_file_is_one_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    """A file that is no manifest ends with one sentence that names it."""
    with pytest.raises(ManifestError) as caught:
        read_file(tmp_path, "fleet.csv", data)
    assert str(caught.value).startswith(f"{tmp_path}/fleet.csv{sentence}")
    assert "\n" not in str(caught.value)
