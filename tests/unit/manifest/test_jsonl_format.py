"""Tests of JSONL manifests."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncgg.errors import ManifestError
from asyncgg.manifest import jsonl_format
from asyncgg.manifest.jsonl_format import jsonl_chunks
from tests.support.manifest import read_all, read_bytes, read_file

INVALID_CHARACTERS = "contains characters outside a-z A-Z 0-9 : _ -"
NAMES = st.from_regex(r"[a-zA-Z0-9:_-]{1,128}", fullmatch=True)
FRAGMENTS = [
    b'{"core":"a","thing":"b"}',
    b'{"core":"a","thing":"b"}\n',
    b'{"thingName": "b", "coreDeviceThingName": "a"}\r\n',
    b'{"core":"a","thing":"core"}\n',
    b'{"core":"a b","thing":"b"}\n',
    b'{"core": "a"',
    b', "thing": "b"}',
    b"\n",
    b"\r\n",
    b"[]",
    b'"',
    b"\\",
    b"\xff",
    b" ",
]
NOISE = st.lists(st.sampled_from(FRAGMENTS)).map(b"".join)
KEYS = [
    b"core",
    b"coreDeviceThingName",
    b"Core",
    b"\xc2\xa0core ",
    b"n",
    b"",
    b"core x",
    b"\xef\xbb\xbfthing",
    b"\xff",
    b"\\u0074",
]
VALUES = [
    b'"x"',
    b'""',
    b'"core"',
    b'"\xc3\xa4, b"',
    b'"\x01"',
    b"0",
    b"01",
    b"-1.5",
    b"1.",
    b"1e5",
    b"true",
    b"nul",
    b"[]",
    b'"x',
]
MEMBERS = st.builds(b'"%b": %b'.__mod__, st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)))
OBJECTS = st.lists(MEMBERS, max_size=3).flatmap(
    lambda others: st.permutations([b'"core": "a"', b'"thing":"b"', *others])
)
LINES = OBJECTS.flatmap(
    lambda members: st.sampled_from([b"{%b}\n", b"{ %b }\r\n"]).map(lambda line: line % b", ".join(members))
)


@pytest.mark.parametrize(
    "row",
    [
        b'{"core":"a","thing":"b"}',
        b'{"thing": "b", "core": "a"}\r',
        b'{"coreDeviceThingName": "a", "thingName": "b"}',
        b'  { "CORE" :"a" , "thingname":"b"}  ',
        b'{"n": {"core": 1}, "core": "a", "thing": "\\u0062", "m": [1, null]}',
        b'\xef\xbb\xbf{"core":"a","thing":"b"}',
        b'\n\n \r\n{"core":"a","thing":"b"}\n\n',
    ],
)
def test_jsonl_chunks_valid_line_gives_pair(tmp_path: Path, row: bytes) -> None:
    """Every form of a valid line gives its pair."""
    assert read_file(tmp_path, "fleet.jsonl", row) == ([("a", "b")], [])


def test_jsonl_chunks_converted_header_is_left_out() -> None:
    """The header of a CSV that was converted to JSONL is counted and is no association."""
    data = b'{"core":"a","thing":"b"}\n{"core":"core","thing":"thing"}\n\xef\xbb\xbf{"core":"a","thing":"b"}\n'
    chunks = list(jsonl_chunks("fleet", io.BytesIO(data).read))
    assert read_all(chunks) == ([("a", "b")] * 2, [])
    assert chunks[0].headers == [2]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"core":"c","thing":', "is not JSON (Expecting value at column 21)"),
        (b"c,d", "is not JSON (Expecting value at column 1)"),
        (b'{"core":"c","thing":"d"} {}', "is not JSON (Extra data at column 26)"),
        (b"[" * 60_000, "is not JSON (nested too deep, or a number too long)"),
        (b"9" * 60_000, "is not JSON (nested too deep, or a number too long)"),
        (b'"text"', "is not a JSON object"),
        (b'[["core","c"],["thing","d"]]', "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "key `core` is missing"),
        (b'{"thing":"d"}', "key `core` is missing"),
        (b'{"core":"c","name":"d"}', "key `thing` is missing"),
        (b'{"core":"c","thing":"d","thing":"e"}', "has `core` or `thing` twice"),
        (b'{"core":"c","thing":"d","coreDeviceThingName":"c"}', "has `core` or `thing` twice"),
        (b'{"core":7,"thing":"d"}', "core is not text"),
        (b'{"core":"c","thing":{"name":"d"}}', "thing is not text"),
        (b'{"core":null,"thing":""}', "core is null; thing is empty"),
        (b'{"core":" c","thing":"d"}', f"core {INVALID_CHARACTERS}"),
        (b'{"core":"c","thing":"\\ud800"}', f"thing {INVALID_CHARACTERS}"),
        (b'{"core":"c","thing":"' + b"d" * 129 + b'"}', "thing has 129 characters (maximum 128)"),
        (b'{"core":"c","thing":"d\xff"}', "is not UTF-8"),
        (b'{"core":"c","thing":"' + b"d" * 70_000 + b'"}', "is longer than 65536 bytes"),
        (b'{"core":"c","thing":"' + b"d" * 700_000 + b'"}', "is longer than 65536 bytes"),
    ],
)
def test_jsonl_chunks_bad_line_is_reported_and_skipped(tmp_path: Path, row: bytes, reason: str) -> None:
    """A bad line has its number and reason, and the lines around it are read."""
    pair = b'{"core":"a","thing":"b"}\n'
    good, bad = read_file(tmp_path, "fleet.ndjson", pair + b"\n" + row + b"\n" + pair)
    assert good == [("a", "b")] * 2
    assert bad == [(3, reason)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no associations; write one row per association"),
        (b"\n\n", "has no associations; write one row per association"),
        (b'\n[\n{"core":"a","thing":"b"}\n]\n', "is a JSON array; write one object per line, without brackets"),
        ("{}\n".encode("utf-16"), "is UTF-16 text; save the file as UTF-8"),
    ],
)
def test_jsonl_manifest_unusable_file_raises(tmp_path: Path, data: bytes, message: str) -> None:
    """A file that is not a JSONL manifest is an error that names the file."""
    with pytest.raises(ManifestError) as caught:
        read_file(tmp_path, "fleet.jsonl", data)
    assert str(caught.value).startswith(f"{tmp_path}/fleet.jsonl {message}")


@given(st.lists(st.tuples(NAMES, NAMES), max_size=5), st.booleans(), st.booleans(), st.integers(1, 99))
def test_jsonl_chunks_round_trips_json_dumps(
    pairs: list[tuple[str, str]], compact: bool, extra: bool, step: int
) -> None:
    """The output of json.dumps gives its pairs, in order."""
    separators = (",", ":") if compact else None
    rows = [{"core": core, "thing": thing} | ({"n": 1} if extra else {}) for core, thing in pairs]
    data = "".join(json.dumps(row, separators=separators) + "\n" for row in rows).encode()
    assert read_bytes(jsonl_chunks, data, step=step) == (pairs, [])


@given(NOISE, st.integers(1, 60))
def test_jsonl_chunks_result_is_independent_of_block_size(noise: bytes, step: int) -> None:
    """Each line that is not blank is one row, however the bytes arrive."""
    data = b'{"core":"a","thing":"b"}\n' + noise
    good, bad = read_bytes(jsonl_chunks, data)
    assert read_bytes(jsonl_chunks, data, step=step) == (good, bad)
    assert len(good) + len(bad) == sum(1 for line in data.split(b"\n") if line.strip())


@given(st.one_of(NOISE, st.lists(LINES).map(b"".join)))
@example(b'{"core":"core","thing":"Thing"}\n')
@example(b'{"x":"core","core":"a","thing":"b"}\n')
def test_jsonl_chunks_fast_way_equals_json_module(noise: bytes) -> None:
    """The regular expression gives the same rows, bad rows and lines as the json module."""
    data = b'{"core":"a","thing":"b"}\n' + noise
    fast = read_bytes(jsonl_chunks, data)
    with mock.patch.object(jsonl_format, "_RUN", re.compile("(?!)")):
        assert read_bytes(jsonl_chunks, data) == fast


def test_jsonl_chunks_bad_line_costs_only_itself() -> None:
    """Only the bad line goes through the json module."""
    lines = [b'{"core": "core-%d", "thing": "device-%d"}\n' % (number // 100, number) for number in range(5000)]
    lines[2500] = b'{"core": "core-25", "thing": "device 2500"}\n'
    with mock.patch.object(jsonl_format, "_parse_line", side_effect=jsonl_format._parse_line) as parse_line:
        good, bad = read_bytes(jsonl_chunks, b"".join(lines))
    assert (len(good), [row.line for row in bad]) == (4999, [2501])
    assert parse_line.call_count == 1


def test_jsonl_chunks_line_with_other_plain_members_needs_no_parser() -> None:
    """Members with plain values do not send their line through the json module."""
    row = b'{"id": 7, "core": "a", "ok": true, "note": "\xc3\xa4, {b}", "thing": "b", "x": null, "y": -1.5}\n'
    with mock.patch.object(jsonl_format, "_parse_line", side_effect=AssertionError):
        assert read_bytes(jsonl_chunks, row * 3) == ([("a", "b")] * 3, [])


def test_jsonl_chunks_long_line_of_many_members_is_bad() -> None:
    """A line above the maximum is bad, whatever its members are."""
    others = ", ".join(f'"{number:03}": "{"€" * 500}"' for number in range(50))
    good, bad = read_bytes(jsonl_chunks, f'{{{others}, "core": "a", "thing": "b"}}\n'.encode())
    assert (good, [row.reason for row in bad]) == ([], ["is longer than 65536 bytes"])
