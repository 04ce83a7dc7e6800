"""Tests of opening manifests: files, standard input, gzip, and errors."""

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
def test_open_manifest_suffix_decides_format(tmp_path: Path, name: str, data: bytes) -> None:
    """Each suffix is read as its format, with or without gzip, in one or several members."""
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
def test_open_manifest_reads_standard_input(data: bytes, chosen: str | None) -> None:
    """Standard input is CSV by default, gzip is detected, and the stream stays open."""
    stdin = io.BytesIO(data)
    with open_manifest("-", format=chosen, stdin=stdin) as manifest:
        assert read_all(manifest.chunks()) == (ONE_PAIR, [])
    assert not stdin.closed


def test_open_manifest_standard_input_is_named_in_bad_rows() -> None:
    """A bad row of standard input names <stdin>."""
    _, bad = read_all(open_manifest("-", stdin=io.BytesIO(b"core,thing\na\n")).chunks())
    assert str(bad[0]) == "<stdin>:2: column `thing` is missing"


def test_open_manifest_reads_a_pipe(tmp_path: Path) -> None:
    """A named pipe, which cannot seek and delivers single bytes, is read like a file."""
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


def test_open_manifest_format_overrides_suffix(tmp_path: Path) -> None:
    """With a format, the file can have any name."""
    file = tmp_path / "fleet.txt"
    file.write_bytes(CSV)
    assert read_all(open_manifest(str(file), format="csv").chunks()) == (ONE_PAIR, [])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("fleet.txt", CSV, "fleet.txt: unknown format; name the file .csv, .jsonl, .ndjson or .parquet"),
        ("fleet.gz", gzip.compress(CSV, mtime=0), "fleet.gz: unknown format"),
        ("fleet.csv.gz", CSV, "fleet.csv.gz is not gzip; compress the file or name it without .gz"),
        ("fleet.csv.gz", b"", "fleet.csv.gz has no associations"),
        ("fleet.csv.gz", gzip.compress(CSV, mtime=0)[:-3], "fleet.csv.gz: the gzip data is corrupt or truncated"),
        ("fleet.csv.gz", gzip.compress(CSV, mtime=0)[:4], "fleet.csv.gz: the gzip data is corrupt or truncated"),
        (
            "fleet.csv.gz",
            gzip.compress(CSV, mtime=0)[:-8] + b"\0" * 8,
            "fleet.csv.gz: the gzip data is corrupt or truncated",
        ),
        ("fleet.csv.gz", gzip.compress(CSV, mtime=0) + b"tail", "fleet.csv.gz: the gzip data is corrupt or truncated"),
        ("fleet.csv.gz", gzip.compress("core".encode("utf-16"), mtime=0), "fleet.csv.gz is UTF-16 text"),
        ("fleet.parquet.gz", b"", "fleet.parquet.gz: Parquet cannot be gzipped; decompress the file"),
        ("fleet.csv", b"BZh91AY&SY", "fleet.csv is compressed with bzip2; decompress the file or use gzip"),
    ],
)
def test_open_manifest_unreadable_bytes_raise(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    """Bytes that cannot be decompressed or recognised are an error that names the file."""
    with pytest.raises(ManifestError) as caught:
        read_file(tmp_path, name, data)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("missing.csv", "missing.csv: no such file; check the path"),
        ("missing", "missing: no such file; check the path"),
        (".", ". is a directory; give a file"),
        ("", "the path is empty or contains a NUL byte; give a file"),
        ("a\0.csv", "the path is empty or contains a NUL byte; give a file"),
        ("x" * 300 + ".csv", "x" * 300 + ".csv: cannot read the file: File name too long"),
        ("s3://bucket", "s3://bucket: unknown format"),
        ("s3:///fleet.csv", "s3:///fleet.csv names no object; write s3://bucket/key"),
    ],
)
def test_open_manifest_unopenable_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    """The error names the manifest and the reason before anything is read."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError) as caught:
        open_manifest(spec)
    assert str(caught.value).startswith(message)


def test_open_manifest_without_permission_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without read permission is an error."""

    def deny(*_: object) -> BinaryIO:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ManifestError, match=r"^fleet\.csv: permission denied$"):
        open_manifest("fleet.csv")


def test_open_manifest_without_standard_input_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without standard input must name a file."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ManifestError, match="no standard input; give a file"):
        open_manifest("-")


class _GeneratedFile(io.RawIOBase):
    """A stream that generates its bytes on demand and can fail at the end."""

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


def test_chunks_failing_disk_raises() -> None:
    """A read error is raised after the rows in front of it."""
    chunks = open_manifest(
        "-", stdin=cast(BinaryIO, _GeneratedFile(10, OSError(errno.EIO, "Input/output error")))
    ).chunks()
    with pytest.raises(ManifestError, match=r"^<stdin>: cannot read the file: Input/output error$"):
        read_all(chunks)


def test_chunks_memory_is_independent_of_file_size() -> None:
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


def test_chunks_memory_is_bounded_with_an_endless_line() -> None:
    """A file without line feeds is not held in memory."""

    class EndlessLine(io.RawIOBase):
        remaining = 400

        def read(self, size: int = -1, /) -> bytes:
            self.remaining -= 1
            return b"x" * size if self.remaining > 0 else b""

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


def test_bad_row_raw_text_is_printable(tmp_path: Path) -> None:
    """The text of a bad row has escapes instead of control characters."""
    file = tmp_path / "fleet.csv"
    file.write_bytes(b"core,thing\n\x1b[31m\\,\xff\t\xc3\xa4\xe2\x80\xae\n")
    _, bad = read_all(open_manifest(str(file)).chunks())
    assert bad[0].raw == r"\x1b[31m\\,\xff\tä\u202e"


def test_open_manifest_unknown_format_raises() -> None:
    """The error lists the known formats."""
    with pytest.raises(UsageError, match="unknown manifest format `xml`; must be one of: csv, jsonl, parquet"):
        open_manifest("-", format="xml", stdin=io.BytesIO())


def test_chunks_second_call_raises(tmp_path: Path) -> None:
    """A manifest is a stream: a second read is an error, not an empty result."""
    (tmp_path / "fleet.csv").write_bytes(CSV)
    manifest = open_manifest(str(tmp_path / "fleet.csv"))
    read_all(manifest.chunks())
    with pytest.raises(InternalError, match="was already read"):
        manifest.chunks()
