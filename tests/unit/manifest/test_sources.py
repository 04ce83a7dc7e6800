"""Rule: where a manifest's bytes come from: files, standard input, gzip, and what is said when they cannot be had."""

from __future__ import annotations

import errno
import gzip
import io
import os
import threading
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from asyncgg.errors import InternalError, ManifestError, UsageError
from asyncgg.manifest import open_manifest
from tests.support.manifest import read_all, read_file

CSV = b"core,thing\na,b\n"
JSONL = b'{"core":"a","thing":"b"}\n'
ONE_PAIR = [("a", "b")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("fleet.csv", CSV),
        ("FLEET.CSV", CSV),
        ("fleet.jsonl", JSONL),
        ("fleet.ndjson", JSONL),
        ("fleet.csv.gz", gzip.compress(CSV, mtime=0)),
        ("fleet.jsonl.gz", gzip.compress(JSONL, mtime=0)),
        ("fleet.csv", gzip.compress(CSV, mtime=0)),
        ("fleet.csv.gz", gzip.compress(b"\xef\xbb\xbfcore,th", mtime=0) + gzip.compress(b"ing\na,b", mtime=0)),
    ],
)
def test_the_ending_says_the_format(tmp_path: Path, name: str, data: bytes) -> None:
    """Each ending is read as its format, packed by gzip or not, in one member or several."""
    assert read_file(tmp_path, name, data) == (ONE_PAIR, [])


@pytest.mark.parametrize(
    ("data", "chosen"),
    [
        (CSV, None),
        (CSV, "csv"),
        (gzip.compress(CSV, mtime=0), None),
        (JSONL, "jsonl"),
        (gzip.compress(JSONL, mtime=0), "jsonl"),
    ],
)
def test_standard_input(data: bytes, chosen: str | None) -> None:
    """Standard input is CSV unless the format says otherwise, gzip is noticed, and it stays open."""
    stdin = io.BytesIO(data)
    with open_manifest("-", format=chosen, stdin=stdin) as manifest:
        assert read_all(manifest.chunks()) == (ONE_PAIR, [])
    assert not stdin.closed


def test_standard_input_is_named_in_bad_rows() -> None:
    """A bad row of standard input says so instead of a path."""
    _, bad = read_all(open_manifest("-", stdin=io.BytesIO(b"core,thing\na\n")).chunks())
    assert str(bad[0]) == "<stdin>:2: column `thing` is missing"


def test_a_pipe_is_read(tmp_path: Path) -> None:
    """A named pipe, which cannot seek and gives bytes in drops, is read like a file."""
    pipe = tmp_path / "fleet.csv"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for at in range(len(CSV)):
                file.write(CSV[at : at + 1])

    writer = threading.Thread(target=write)
    writer.start()
    assert read_all(open_manifest(str(pipe)).chunks()) == (ONE_PAIR, [])
    writer.join()


def test_format_overrules_the_ending(tmp_path: Path) -> None:
    """With a format given, a file may be called anything."""
    file = tmp_path / "fleet.txt"
    file.write_bytes(CSV)
    assert read_all(open_manifest(str(file), format="csv").chunks()) == (ONE_PAIR, [])


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("fleet.txt", CSV, "fleet.txt: the ending does not say what it is: use .csv, .jsonl, .ndjson or .parquet"),
        ("fleet.gz", gzip.compress(CSV, mtime=0), "fleet.gz: the ending does not say what it is"),
        ("fleet.csv.gz", CSV, "fleet.csv.gz is not gzip: compress it, or name it without .gz"),
        ("fleet.csv.gz", b"", "fleet.csv.gz has no associations"),
        ("fleet.csv.gz", gzip.compress(CSV, mtime=0)[:-3], "fleet.csv.gz: the gzip data is broken or cut off"),
        ("fleet.csv.gz", gzip.compress(CSV, mtime=0)[:4], "fleet.csv.gz: the gzip data is broken or cut off"),
        (
            "fleet.csv.gz",
            gzip.compress(CSV, mtime=0)[:-8] + b"\0" * 8,
            "fleet.csv.gz: the gzip data is broken or cut off",
        ),
        ("fleet.csv.gz", gzip.compress(CSV, mtime=0) + b"tail", "fleet.csv.gz: the gzip data is broken or cut off"),
        ("fleet.csv.gz", gzip.compress("core".encode("utf-16"), mtime=0), "fleet.csv.gz is UTF-16 text"),
        ("fleet.parquet.gz", b"", "fleet.parquet.gz: Parquet is compressed inside: decompress the .gz"),
        ("fleet.csv", b"BZh91AY&SY", "fleet.csv is compressed with bzip2: decompress it, or use gzip"),
    ],
)
def test_unreadable_bytes_are_one_sentence(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    """What cannot be unpacked or recognised ends with a sentence that names the file."""
    with pytest.raises(ManifestError) as caught:
        read_file(tmp_path, name, data)
    assert str(caught.value).startswith(f"{tmp_path}/{sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("missing.csv", "missing.csv: no such file: check the path"),
        ("missing", "missing: no such file: check the path"),
        (".", ". is a directory: give one file"),
        ("", "the manifest's path is empty or holds a NUL byte: give a file"),
        ("a\0.csv", "the manifest's path is empty or holds a NUL byte: give a file"),
        ("x" * 300 + ".csv", "x" * 300 + ".csv cannot be read: File name too long"),
        ("s3://bucket", "s3://bucket: the ending does not say what it is"),
        ("s3:///fleet.csv", "s3:///fleet.csv names no object: write s3://bucket/key"),
    ],
)
def test_unopenable_manifest_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, sentence: str
) -> None:
    """What cannot be opened says which and why, before anything is read."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError) as caught:
        open_manifest(spec)
    assert str(caught.value).startswith(sentence)


def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read says so."""

    def refuse(*_: object) -> BinaryIO:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ManifestError, match=r"^fleet\.csv: no permission to read it$"):
        open_manifest("fleet.csv")


def test_no_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without standard input is told to name a file."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ManifestError, match="there is no standard input: give a file"):
        open_manifest("-")


class _GeneratedFile(io.RawIOBase):
    """A stream that makes its bytes up as they are asked for, and may fail at its end."""

    def __init__(self, count: int, error: OSError | None = None) -> None:
        self._at, self._count, self._error, self._rest = 0, count, error, b"core,thing,note\n"

    def read(self, size: int = -1, /) -> bytes:
        while len(self._rest) < size and self._at < self._count:
            upto = min(self._at + 1000, self._count)
            self._rest += b"".join(b'c%d,t%d,"x"\n' % (at // 100, at) for at in range(self._at, upto))
            self._at = upto
        if not self._rest and self._error:
            raise self._error
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def test_failing_disk_is_one_sentence() -> None:
    """An error in the middle of reading comes as a sentence after the rows before it."""
    chunks = open_manifest(
        "-", stdin=cast(BinaryIO, _GeneratedFile(10, OSError(errno.EIO, "Input/output error")))
    ).chunks()
    with pytest.raises(ManifestError, match=r"^<stdin> cannot be read: Input/output error$"):
        read_all(chunks)


def test_memory_does_not_grow_with_the_file() -> None:
    """100,000 rows stream through a few megabytes."""
    manifest = open_manifest("-", stdin=cast(BinaryIO, _GeneratedFile(100_000)))
    tracemalloc.start()
    try:
        rows = sum(len(chunk.good) for chunk in manifest.chunks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 100_000
    assert peak < 12_000_000


def test_memory_is_bounded_by_one_endless_line() -> None:
    """A file without line feeds is not held whole."""

    class EndlessLine(io.RawIOBase):
        left = 400

        def read(self, size: int = -1, /) -> bytes:
            self.left -= 1
            return b"x" * size if self.left > 0 else b""

    manifest = open_manifest("-", format="jsonl", stdin=cast(BinaryIO, EndlessLine()))
    tracemalloc.start()
    try:
        _, bad = read_all(manifest.chunks())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(row.line, row.reason) for row in bad] == [(1, "is longer than 65536 bytes")]
    assert bad[0].raw == "x" * 1000 + "…"
    assert peak < 4_000_000


def test_raw_text_is_printable(tmp_path: Path) -> None:
    """A bad row's text holds no control characters, and says which bytes were there."""
    file = tmp_path / "fleet.csv"
    file.write_bytes(b"core,thing\n\x1b[31m\\,\xff\t\xc3\xa4\xe2\x80\xae\n")
    _, bad = read_all(open_manifest(str(file)).chunks())
    assert bad[0].raw == r"\x1b[31m\\,\xff\tä\u202e"


def test_unknown_format() -> None:
    """An unknown format is refused with the known ones."""
    with pytest.raises(UsageError, match="unknown manifest format `xml`: use one of csv, jsonl, parquet"):
        open_manifest("-", format="xml", stdin=io.BytesIO())


def test_read_once(tmp_path: Path) -> None:
    """A manifest is a stream: reading it twice is refused, not answered with nothing."""
    (tmp_path / "fleet.csv").write_bytes(CSV)
    manifest = open_manifest(str(tmp_path / "fleet.csv"))
    read_all(manifest.chunks())
    with pytest.raises(InternalError, match="was already read"):
        manifest.chunks()
