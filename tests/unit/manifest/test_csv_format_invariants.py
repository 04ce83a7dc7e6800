"""Property tests of CSV manifests: quoting, block boundaries, and the fast path."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from itertools import repeat
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncgg.errors import ManifestError
from asyncgg.manifest import BadRow, column_names, csv_format, csv_lines
from asyncgg.manifest.csv_format import csv_chunks
from asyncgg.models import invalid_name_reason
from tests.support.manifest import read_bytes

pytest.importorskip("pyarrow.compute")  # loaded before the deadline of an example runs

NAMES = st.from_regex(r"[a-zA-Z0-9:_-]{1,128}", fullmatch=True)
BLANKS = st.sampled_from(["", "", " ", "\t ", "  "])
NOTES = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
STEPS = st.integers(1, 60)
NOISE = st.lists(
    st.sampled_from(
        [b"a", b"b1", b",", b",", b'"', b'""', b"\n", b"\n", b"\r\n", b"\r", b" ", b"\0", b"\xff", b"\xc3\xa4"]
    )
).map(b"".join)
CELLS = st.sampled_from(
    [
        *(b"a", b"b1", b"c:2", b"core", b"Thing", b"thingName", b" core ", b"", b"a b", b'"x"', b'"a,b"', b'","'),
        *(b"\xc3\xa4", b"\xff", b"\xef\xbb\xbf", b"n" * 128, b"n" * 129, b"\0", b"'"),
    ]
)


def quoted_line(cells: Iterable[bytes], quotes: Iterable[bytes], end: bytes) -> bytes:
    """A line with each cell between two of its quotes."""
    return b",".join(quote + cell + quote for cell, quote in zip(cells, quotes, strict=False)) + end


LINES = st.one_of(
    st.builds(
        lambda cells, quotes, end: (
            b",".join(quote + cell + quote for cell, quote in zip(cells, quotes, strict=False)) + end
        ),
        st.lists(st.one_of(st.sampled_from([b"a", b"b1"]), CELLS), min_size=1, max_size=5),
        st.one_of(st.sampled_from([b"", b"", b'"']).map(repeat), st.lists(st.sampled_from([b"", b'"']), min_size=5)),
        st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b""]),
    ),
    st.sampled_from([b"a,b\n", b"a,b,a,b\n", b'"a","b","a"\n', b"sep=,\n"]),
    NOISE,
)
"""Lines of mostly clean cells, with every problem that a cell can have."""
HEADERS = [b"core,thing\n", b"thing,core,note\n", b"note,core,thing\n", b"x,y,core,thing\n", b"core,x,y,thingName\n"]
ReadResult = tuple[list[tuple[str, str]], list[BadRow]] | str


@st.composite
def csv_files(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    """A valid CSV as bytes, and its pairs."""
    pairs = draw(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
    delimiter = draw(st.sampled_from(",;"))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    header = draw(st.permutations([draw(st.sampled_from(["core", "CoreDeviceThingName"])), "thingName", "note"]))
    out = io.StringIO()
    out.write(draw(st.sampled_from(["", "\ufeff"])))
    rows = [list(header)]
    for core, thing in pairs:
        cells = {"c": core, "t": thing}
        rows.append(
            [
                draw(NOTES) if (at := name[0].lower()) == "n" else draw(BLANKS) + cells[at] + draw(BLANKS)
                for name in header
            ]
        )
    for row in rows:
        dialect = csv.unix_dialect if draw(st.booleans()) else csv.excel  # quotes all, or what needs it
        csv.writer(out, dialect, delimiter=delimiter, lineterminator=end).writerow(row)
        out.write(draw(st.sampled_from(["", "", end, f"  {end}"])))
    return out.getvalue().encode("utf-8"), pairs


def read_or_error(data: bytes, step: int = 1 << 20) -> ReadResult:
    """The rows, or the message of the error."""
    try:
        return read_bytes(csv_chunks, data, step=step)
    except ManifestError as error:
        return str(error)


@given(csv_files(), STEPS)
def test_csv_chunks_valid_csv_round_trips(file: tuple[bytes, list[tuple[str, str]]], step: int) -> None:
    """Any valid CSV gives the pairs that were written, in order, and no bad row."""
    data, pairs = file
    good, bad = read_bytes(csv_chunks, data.removeprefix(b"\xef\xbb\xbf"), step=step)
    assert bad == []
    assert good == pairs


@given(NOISE, STEPS)
@example(b'a,"b\n\n\na,b', 1)
@example(b'a,b,"\n"\n"a" ,b\n', 3)
def test_csv_chunks_result_is_independent_of_block_size(noise: bytes, step: int) -> None:
    """The rows do not depend on how the bytes arrive."""
    data = b"core,thing\n" + noise
    assert read_or_error(data, step) == read_or_error(data)


@given(st.lists(LINES, max_size=12).map(b"".join), st.sampled_from(HEADERS), st.sampled_from([b",", b"\t"]))
@example(b'"a","b","x"\n"a1","b1","x"\n', b"thing,core,note\n", b",")
@example(b"a,b\na,b\n", b"core,thing\n", b",")
@example(b"core,thing,x,y\n", b"x,y,core,thing\n", b",")
@example(b'"a"","b"\n"a","b"\n', b"core,thing\n", b",")
@example(b'"a",b\na",b\n', b"core,thing\n", b",")
@example(b'"a",",","b"\n', b"core,note,thing\n", b",")
@example(b'"a,b",c\n"a",b\n', b"core,thing\n", b",")
@example(b'a,"x"",""y",b\na,"x""y",b\n', b"core,note,thing\n", b",")
@example(b'a,",",b\ncore,x,a\n a,"",b\n', b"core,note,thing\n", b"\t")
def test_csv_chunks_fast_ways_equal_csv_module(data: bytes, header: bytes, delimiter: bytes) -> None:
    """Splitting blocks, columns and the regular expression give the same rows, bad rows and lines as the csv module."""
    data, header = data.replace(b",", delimiter), header.replace(b",", delimiter)
    fast = read_or_error(header + data)
    with mock.patch.multiple(column_names, MIN_SIZE=1, MIN_BLOCK=1):
        assert read_or_error(header + data) == fast
    with (
        mock.patch.object(csv_lines, "_run_pattern", return_value=""),
        mock.patch.object(csv_lines.PlainLines, "split", return_value=None),
    ):
        assert read_or_error(header + data) == fast


@pytest.mark.parametrize("row", ["{},{}\n", "{},{}\r\n", '"{}","{}"\n'])
def test_csv_chunks_bad_row_costs_only_itself(row: str) -> None:
    """Clean rows are not parsed one by one, and next to a bad row only that one is."""
    lines = [row.format(f"core-{number // 100}", f"device-{number}") for number in range(5000)]
    rows_parsed = mock.patch.object(
        csv_format._CsvParser, "_parse_row", autospec=True, side_effect=csv_format._CsvParser._parse_row
    )
    with rows_parsed as parse_row:
        read_bytes(csv_chunks, ("core,thing\n" + "".join(lines)).encode())
        assert parse_row.call_count == 0
        lines[2500] = row.format("core 1", "device")
        good, bad = read_bytes(csv_chunks, ("core,thing\n" + "".join(lines)).encode())
    assert (len(good), [line.line for line in bad]) == (4999, [2502])
    assert parse_row.call_count == 1


@given(NOISE)
def test_csv_chunks_without_quotes_counts_every_line(noise: bytes) -> None:
    """Without quotes each line that is not blank is one row, and good rows have valid names."""
    data = noise.replace(b'"', b"")
    good, bad = read_bytes(csv_chunks, b"core,thing\n" + data)
    assert len(good) + len(bad) == sum(1 for line in data.split(b"\n") if line.strip())
    assert not [name for pair in good for name in pair if invalid_name_reason(name)]


@given(st.binary(max_size=300))
def test_csv_chunks_random_bytes_raise_only_manifest_error(data: bytes) -> None:
    """No bytes raise any other error."""
    result = read_or_error(data)
    assert isinstance(result, str) or result[0] == []


@pytest.mark.parametrize("cell", ["x" * 3000, "€" * 3000, '""x""' * 500, "core", "thing,", "\ufeff"])
@pytest.mark.parametrize("columns", [3, 5, 40, 300])
def test_csv_chunks_fast_ways_take_no_wide_row_that_the_csv_module_rejects(cell: str, columns: int) -> None:
    """With any number of columns, long and unusual cells give the same rows as the csv module."""
    header = ",".join(["core", *(f"c{number}" for number in range(columns - 2)), "thing"])
    rows = [",".join(["a", *[f'"{cell}"'] * (columns - 2), f"b{number}"]) for number in range(3)]
    data = "\n".join([header, *rows, ""]).encode()
    fast = read_or_error(data)
    with mock.patch.object(csv_lines, "_run_pattern", return_value=""):
        assert read_or_error(data) == fast


def test_csv_chunks_row_of_blanks_above_the_maximum_is_bad() -> None:
    """Blanks around a name count for the length of a row, also next to plain rows."""
    good, bad = read_bytes(csv_chunks, b"core,thing\na,b\na," + b" " * 66_000 + b"b\na,c\n")
    assert (good, [row.line for row in bad]) == ([("a", "b"), ("a", "c")], [3])
