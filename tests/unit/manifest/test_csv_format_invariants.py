"""Property tests of CSV manifests: quoting, block boundaries, and the fast path."""

from __future__ import annotations

import csv
import io
import re
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from asyncgg.errors import ManifestError
from asyncgg.manifest import BadRow, csv_format
from asyncgg.manifest.csv_format import csv_chunks
from asyncgg.models import invalid_name_reason
from tests.support.manifest import read_bytes

NAMES = st.from_regex(r"[a-zA-Z0-9:_-]{1,128}", fullmatch=True)
BLANKS = st.sampled_from(["", "", " ", "\t ", "  "])
NOTES = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
STEPS = st.integers(1, 60)
NOISE = st.lists(
    st.sampled_from(
        [b"a", b"b1", b",", b",", b'"', b'""', b"\n", b"\n", b"\r\n", b"\r", b" ", b"\0", b"\xff", b"\xc3\xa4"]
    )
).map(b"".join)
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


@given(NOISE, st.sampled_from([b"core,thing\n", b"thing,core,note\n", b"note,core,thing\n"]))
@example(b'"a","b","x"\n"a1","b1","x"\n', b"thing,core,note\n")
@example(b"a,b\na,b\n", b"core,thing\n")
def test_csv_chunks_fast_path_equals_csv_module(noise: bytes, header: bytes) -> None:
    """The regular expression gives the same rows as the csv module."""
    fast = read_or_error(header + noise)
    with mock.patch.object(csv_format, "_fast_row_regex", return_value=re.compile("(?!)")):
        assert read_or_error(header + noise) == fast


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
