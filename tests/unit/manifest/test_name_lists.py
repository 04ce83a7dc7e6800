"""Tests of lists of names: `--things`, `--cores`, `--only`, `--protect` and keep lists."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Literal

import pytest

from asyncgg.cleanup.context import read_keep_lists
from asyncgg.cleanup.rules.conditions import NotIn
from asyncgg.errors import ManifestError, UsageError
from asyncgg.manifest import load_protect_list
from asyncgg.manifest.name_lists import load_selection, read_names
from tests.support.cleanup_rules import make_policy


def read_keep_list(path: Path) -> frozenset[str]:
    """Read one keep list of a policy."""
    return read_keep_lists(make_policy(NotIn(str(path))))[str(path)]


def read_selected(path: Path) -> list[str]:
    """The things of "a" to "c" that a `--only` list selects."""
    selection = load_selection(path)
    return [thing for thing in "abc" if selection.matches("core-1", thing)]


READERS: dict[str, Callable[[Path], Collection[str]]] = {
    "--things": lambda path: read_names(path, "thing"),
    "--cores": lambda path: read_names(path, "core"),
    "--only": read_selected,
    "--protect": lambda path: load_protect_list(str(path)).entries,
    "keep list": read_keep_list,
}

TEXTS = {
    "plain": b"a\nb\nc\n",
    "no line feed at the end": b"a\nb\nc",
    "blank lines": b"\n a\n\n\tb \n c\n\n",
    "byte order mark": b"\xef\xbb\xbfa\nb\nc\n",
    "CRLF": b"a\r\nb\r\nc\r\n",
    "CR": b"a\rb\rc\r",
    "comment lines": b"# all\na\n  # two\nb\n#c\nc\n",
    "comments after white space": b"a # one\nb\t# two\nc  #3\n",
    "quoted": b'"a"\n"b"\n" c "\n',
    "delimiter line of Excel": b"\xef\xbb\xbfsep=;\r\na\r\nb\r\nc\r\n",
    "byte order mark in the middle": b"\xef\xbb\xbfa\nb\n\xef\xbb\xbfc\n",
    "gzip members": gzip.compress(b"a\nb\n", mtime=0) + gzip.compress(b"c\n", mtime=0),
    "gzip": gzip.compress(b"a\nb\nc\n", mtime=0),
}


@pytest.mark.parametrize("option", READERS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_list_reads_one_name_per_line(tmp_path: Path, option: str, text: str) -> None:
    """All lists have the same line ends, comments and encodings."""
    (tmp_path / "list").write_bytes(TEXTS[text])
    assert sorted(READERS[option](tmp_path / "list")) == ["a", "b", "c"]


@pytest.mark.parametrize("option", READERS)
@pytest.mark.parametrize("line", [b"sensor-1#2", b"sensor-1#", b"sensor-1#old # new", b"sensor 1", b"s\xc3\xa4"])
def test_every_list_rejects_an_invalid_name(tmp_path: Path, option: str, line: bytes) -> None:
    """A `#` within a word does not start a comment: `sensor-1#2` must not become `sensor-1`."""
    (tmp_path / "list").write_bytes(b"a\n" + line + b"\n")
    with pytest.raises(ManifestError, match="list:2: ") as raised:
        READERS[option](tmp_path / "list")
    assert "\n" not in str(raised.value)


INVALID_TEXTS = {
    "no names": (b"", "list: "),
    "comments only": (b"# nothing\n\n", "list: "),
    "not UTF-8": (b"a\nb\n\xe4\n", "list:3: "),
    "UTF-16": ("a\n".encode("utf-16"), "list is UTF-16"),
    "Parquet": (b"PAR1", "list is a Parquet file"),
    "truncated gzip": (gzip.compress(b"a\n" * 99, mtime=0)[:-9], "list: the gzip data is corrupt"),
}


@pytest.mark.parametrize("option", READERS)
@pytest.mark.parametrize("text", INVALID_TEXTS)
def test_every_list_rejects_an_unusable_file(tmp_path: Path, option: str, text: str) -> None:
    """A list that cannot be read completely is an error that names the file."""
    data, message = INVALID_TEXTS[text]
    (tmp_path / "list").write_bytes(data)
    with pytest.raises(ManifestError, match=message):
        READERS[option](tmp_path / "list")


@pytest.mark.parametrize("option", READERS)
def test_every_list_rejects_a_missing_file(tmp_path: Path, option: str) -> None:
    """A missing file is not an empty list, and a directory is not a list."""
    with pytest.raises(ManifestError, match="list: no such file"):
        READERS[option](tmp_path / "list")
    with pytest.raises(ManifestError, match="is a directory"):
        READERS[option](tmp_path)


@pytest.mark.parametrize("option", [option for option in READERS if option != "keep list"])
def test_every_option_reads_standard_input(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """`-` is standard input, named <stdin> in messages; keep lists are files and S3 objects."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb c\n")))
    with pytest.raises(ManifestError, match=r"^<stdin>:2: "):
        READERS[option](Path("-"))


TABLES = {
    "CSV": ("list.csv", b'core,thing,note\nx,a,1\n\ny,"b",2\nx,a,3\n'),
    "header only": ("list.csv", b"ThingName\na\nb\n"),
    "quoted": ("list.csv", b'"thing"\n"a"\n"b"\n'),
    "semicolons": ("list", b'note;Thing \nold; a\nolder; "b"\n'),
    "delimiter line of Excel": ("list.csv", b"sep=;\r\nnote;thing\r\nx;a\r\ny;b\r\n"),
    "delimiter line, one column": ("list.csv", b'\xef\xbb\xbf"sep=,"\n"thing"\n"a"\n"b"\n'),
    "tabs": ("list", b"note\tthing\nold\ta\nolder\tb\n"),
    "comment before the header": ("list.csv", b'# see "x", y\n\nnote,thing\n#1,a\n"#2, x",b\n'),
    "line break in a cell": ("list.csv", b'note,thing\n"1\n# 2",a\n3,b\n'),
    "comment that looks like a header": ("list", b"# core,thing\na\nb\n"),
    "gzipped CSV": ("list.csv.gz", gzip.compress(b"thing\na\nb\n", mtime=0)),
    "JSONL": ("list.jsonl", b'{"thingName": "a", "core": "c"}\n\n"b"\n'),
    "gzipped JSONL": ("list.ndjson.gz", gzip.compress(b'"a"\n"b"\n', mtime=0)),
}


@pytest.mark.parametrize("table", TABLES)
def test_read_names_reads_the_column_of_a_table(tmp_path: Path, table: str) -> None:
    """The column of a CSV and the key of JSONL give the names, each once, in order."""
    name, data = TABLES[table]
    (tmp_path / name).write_bytes(data)
    assert read_names(tmp_path / name, "thing") == ["a", "b"]
    assert read_keep_list(tmp_path / name) == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list", b"thing\na\nthing\nb\n"),
        ("list", b"a\nb\nthing\n"),  # sorted
        ("list.csv", b'\xef\xbb\xbf"Thing"\n"a"\n\xef\xbb\xbf"thingName"\n"b"\n'),
        ("list.csv", b"core,thing\nx,a\ncore,thing\nx,b\n"),
        ("list.csv.gz", gzip.compress(b"note,thing\n1,a\n", mtime=0) + gzip.compress(b"note,thing\n1,b\n", mtime=0)),
        ("list.jsonl", b'"a"\n{"thing": "thing"}\n"b"\n'),
    ],
)
def test_every_list_leaves_out_a_repeated_header(tmp_path: Path, name: str, data: bytes) -> None:
    """The column name inside a list is left out; a keep list keeps it to be safe."""
    (tmp_path / name).write_bytes(data)
    names = read_names(tmp_path / name, "thing")
    assert names == ["a", "b"]
    assert [header.strip("\ufeff").lower() in {"thing", "thingname"} for header in names.headers] == [True]
    assert read_keep_list(tmp_path / name) == {"a", "b", *names.headers}


def test_keep_list_of_headers_is_empty(tmp_path: Path) -> None:
    """Headers alone do not get past the check for an empty keep list."""
    (tmp_path / "list").write_text("thing\nthing\n")
    with pytest.raises(ManifestError, match="the keep list is empty"):
        read_keep_list(tmp_path / "list")


def test_things_named_like_a_column_are_read(tmp_path: Path) -> None:
    """In a table only a row that equals the header is left out; a list of things can name the thing `core`."""
    (tmp_path / "list.csv").write_text("site,thing\nBerlin,thing\nLyon,a\n")
    assert read_names(tmp_path / "list.csv", "thing") == ["thing", "a"]
    (tmp_path / "list").write_text("a\ncore\n")
    assert read_names(tmp_path / "list", "thing") == ["a", "core"]


@pytest.mark.parametrize(
    ("data", "pairs"),
    [(b"thing\na\nthing\n", False), (b"# x\nsep=;\ncore;thing\nc;a\ncore;thing\n", True)],
)
def test_load_selection_leaves_out_a_repeated_header(tmp_path: Path, data: bytes, pairs: bool) -> None:
    """`--only` counts it, and a delimiter line of Excel does not turn a manifest into a list of things."""
    (tmp_path / "only.csv").write_bytes(data)
    selection = load_selection(tmp_path / "only.csv")
    assert selection.header_rows == 1
    assert selection.matches("c", "a")
    assert selection.matches("other", "a") is not pairs
    selection.require_all_used("the run")


def test_read_names_reads_the_cores_of_a_manifest(tmp_path: Path) -> None:
    """A manifest is a list of its cores too."""
    (tmp_path / "list").write_text("coreDeviceThingName,thingName\nx,a\ny,b\nx,b\n")
    assert read_names(tmp_path / "list", "core") == ["x", "y"]


INVALID_TABLES = {
    "no column": ("list.csv", b"core,device\nx,a\n", ":1: no column `thing`"),
    "list of cores": ("list", b"core\nx\n", ":1: no column `thing`"),
    "two columns": ("list.csv", b"thing,thingName\na,b\n", ":1: more than one column `thing`"),
    "short row": ("list.csv", b"# x\ncore,thing\nx,a\ny\n", ":4: the row has no column `thing`"),
    "empty cell": ("list.csv", b"core,thing\nx,\n", ":2: invalid thing name ``"),
    "comment in a cell": ("list.csv", b"core,thing\nx,a # old\n", ":2: invalid thing name `a # old`"),
    "comment instead of a cell": ("list.csv", b"thing,core\n# a,x\n", ":2: invalid thing name `# a`"),
    "unclosed quote": ("list.csv", b'core,thing\nx,"a\n', ":2: invalid CSV"),
    "text after a quote": ("list.csv", b'core,thing\n"x"y,a\n', ":2: invalid CSV"),
    "endless cell": ("list.csv", b"core,thing\nx," + b"a" * 200_000, ":2: invalid CSV: field larger than"),
    "header without rows": ("list.csv", b"core,thing\n", ": the list has no names"),
    "column name alone": ("list", b"thing\n", ": the list has no names"),
    "glob": ("list", b"sensor-*\n", ":1: invalid thing name `sensor-\\*`"),
    "number in JSON": ("list.jsonl", b'{"thing": "a"}\n{"thing": 5}\n', ":2: the thing name must be a string"),
    "array in JSON": ("list.jsonl", b'[["thing", "a"]]\n', ":1: the thing name must be a string"),
    "duplicate key": ("list.jsonl", b'{"thing": "a", "thing": "b"}\n', ":1: more than one column `thing`"),
    "missing key": ("list.jsonl", b'{"core": "a"}\n', ":1: no column `thing`"),
    "truncated JSON": ("list.jsonl", b'{"thing": "a"\n', ":1: invalid JSON"),
    "comment in JSON": ("list.jsonl", b'"a" # old\n', ":1: invalid JSON"),
}


@pytest.mark.parametrize("table", INVALID_TABLES)
def test_read_names_rejects_an_invalid_table(tmp_path: Path, table: str) -> None:
    """The error names file and line; no row is skipped."""
    name, data, message = INVALID_TABLES[table]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ManifestError, match=message) as raised:
        read_names(tmp_path / name, "thing")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["thing", "core"])
@pytest.mark.parametrize(
    ("name", "text"), [("list", "core,thingName\nx,a\n"), ("list.jsonl", '{"core": "x", "thing": "a"}\n')]
)
def test_read_names_with_reject_pairs_rejects_a_manifest(
    tmp_path: Path, kind: Literal["thing", "core"], name: str, text: str
) -> None:
    """If a name means all of its associations, a manifest with single ones is an error."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError, match=":1: the rows are associations"):
        read_names(tmp_path / name, kind, reject_pairs=True)


def test_read_names_reads_from_s3() -> None:
    """An S3 object is read in the format of its suffix; without an opener it is an error."""

    class Bucket:
        def open(self, bucket: str, key: str) -> BinaryIO:
            assert (bucket, key) == ("fleet", "keep.jsonl")
            return io.BytesIO(b'"a"\n')

    assert read_names("s3://fleet/keep.jsonl", "thing", s3=Bucket()) == ["a"]
    with pytest.raises(ManifestError, match="cannot be read from S3"):
        read_names("s3://fleet/keep.jsonl", "thing")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("only.csv", b"core,thing\nc1,a\nc2,b\n"),
        ("only", b"\xef\xbb\xbf\n# wrong ones\nthing;core\r\na;c1\r\nb;c2\r\n"),
        ("only.csv.gz", gzip.compress(b"core,thing\nc1,a\nc2,b\n", mtime=0)),
        ("only.jsonl", b'{"core": "c1", "thing": "a"}\n{"core": "c2", "thing": "b"}\n'),
    ],
)
def test_load_selection_with_cores_selects_associations(tmp_path: Path, name: str, data: bytes) -> None:
    """With both columns the list is a manifest: each row selects one association."""
    (tmp_path / name).write_bytes(data)
    selection = load_selection(tmp_path / name)
    assert selection.matches("c1", "a")
    assert not selection.matches("c2", "a")
    with pytest.raises(UsageError, match="1 entry is not in the run: c2,b; remove"):
        selection.require_all_used("the run")


def test_load_selection_without_cores_selects_every_association(tmp_path: Path) -> None:
    """A thing selects its associations with every core."""
    (tmp_path / "only.csv").write_text("note,thing\nx,a\n")
    selection = load_selection(tmp_path / "only.csv")
    assert selection.matches("c1", "a")
    assert selection.matches("c2", "a")
    selection.require_all_used("the run")


def test_load_selection_with_a_bad_row_names_the_line(tmp_path: Path) -> None:
    """Comments in front of the header do not shift the line numbers."""
    (tmp_path / "only.csv").write_text("# one\n# two\ncore,thing\nc1,a#1\n")
    with pytest.raises(UsageError, match=r"only\.csv:4: thing "):
        load_selection(tmp_path / "only.csv")
