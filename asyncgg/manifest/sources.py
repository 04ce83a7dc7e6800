"""Opens manifests and lists (files, standard input, S3) and splits text into blocks of lines."""

from __future__ import annotations

import gzip
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from asyncgg.errors import ManifestError
from asyncgg.manifest.rows import MAX_EXCERPT

BLOCK_SIZE: Final = 256 * 1024
"""Bytes read at once: a few thousand rows, which spreads the fixed cost of a block."""

MAX_LINE: Final = 64 * 1024
"""Maximum bytes of one line, and of one CSV row of several lines. A longer one is a bad row."""

BOM: Final = b"\xef\xbb\xbf"
SEPARATOR_LINE: Final = re.compile(rb'"?sep=.?"?[ \t]*\r?\Z', re.IGNORECASE)
"""The line that Excel writes in front of the header: the delimiter of the CSV."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_UNSUPPORTED_MAGIC: Final = (
    (b"PAR1", "is a Parquet file; name the file .parquet or use --format parquet"),
    (b"\xff\xfe", "is UTF-16 text; save the file as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; save the file as UTF-8"),
    (b"PK\x03\x04", "is a ZIP archive or an Excel file; save the file as CSV in UTF-8"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; decompress the file or use gzip"),
    (b"BZh", "is compressed with bzip2; decompress the file or use gzip"),
    (b"\xfd7zXZ", "is compressed with xz; decompress the file or use gzip"),
)


class S3Opener(Protocol):
    """Opens S3 objects as files."""

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open the object as a seekable file for reading. Closing the file frees its resources.

        Raises `ManifestError` if the object cannot be read, `CredentialsError` if access is denied.
        """


class _PrefixedStream:
    """A stream preceded by bytes that were already read from it."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> bytes:
        if not self._head:
            return self._rest.read(size)
        head, self._head = self._head[:size], self._head[size:]
        return head + self._rest.read(size - len(head)) if size > len(head) else head


class Source:
    """The bytes of an opened manifest or list."""

    def __init__(self, name: str, raw: BinaryIO, *, owned: bool) -> None:
        self.name = name
        self._raw = raw
        self._owned = owned
        self._text: BinaryIO | None = None
        self._temp_copy: BinaryIO | None = None

    def open_text(self, *, expect_gzip: bool) -> None:
        """Prepare `read`: decompress gzip and skip a byte order mark.

        `expect_gzip`: the file name ends in .gz. Raises `ManifestError` if the bytes are not text.
        """
        with translate_os_errors(self.name):
            text: BinaryIO = self._raw
            head = text.read(8)
            if head.startswith(_GZIP_MAGIC):
                text = cast(BinaryIO, gzip.GzipFile(fileobj=cast(BinaryIO, _PrefixedStream(head, text)), mode="rb"))
                head = text.read(8)
            elif expect_gzip and head:
                raise ManifestError(f"{self.name} is not gzip; compress the file or name it without .gz")
            for magic, reason in _UNSUPPORTED_MAGIC:
                if head.startswith(magic):
                    raise ManifestError(f"{self.name} {reason}")
            self._text = cast(BinaryIO, _PrefixedStream(head.removeprefix(BOM), text))

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes of text; empty at the end.

        Raises `ManifestError` if the disk or the gzip stream fails.
        """
        assert self._text is not None, "call open_text() first"
        with translate_os_errors(self.name):
            return self._text.read(size)

    def open_seekable(self) -> BinaryIO:
        """Return a seekable file: the file itself, or a temporary copy of a stream."""
        with translate_os_errors(self.name):
            if self._raw.seekable():
                return self._raw
            self._temp_copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - close() closes it
            shutil.copyfileobj(self._raw, self._temp_copy, 1 << 20)
            self._temp_copy.seek(0)
            return self._temp_copy

    def close(self) -> None:
        """Close the file and its temporary copy. Standard input stays open."""
        if self._temp_copy is not None:
            self._temp_copy.close()
        if self._owned:
            self._raw.close()


@contextmanager
def translate_os_errors(name: str) -> Iterator[None]:
    """Raise a `ManifestError` that names `name` instead of an operating system or gzip error."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ManifestError(f"{name}: the gzip data is corrupt or truncated ({error}); restore the file") from None
    except FileNotFoundError:
        raise ManifestError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise ManifestError(f"{name} is a directory; give a file") from None
    except PermissionError:
        raise ManifestError(f"{name}: permission denied") from None
    except OSError as error:
        raise ManifestError(f"{name}: cannot read the file: {error.strerror or error}") from None


def display_path(spec: str | Path) -> str:
    """The name of a manifest or list in messages."""
    return "<stdin>" if str(spec) == "-" else str(spec)


def open_source(spec: str, stdin: BinaryIO | None, s3: S3Opener | None) -> Source:
    """Open a path, `-` or `s3://bucket/key`. Raises `ManifestError` or `CredentialsError`."""
    if spec == "-":
        if stdin is None and sys.stdin is None:
            raise ManifestError("-: no standard input; give a file")
        return Source(display_path(spec), stdin if stdin is not None else cast(BinaryIO, sys.stdin.buffer), owned=False)
    if spec.startswith("s3://"):
        bucket, _, key = spec.removeprefix("s3://").partition("/")
        if not bucket or not key or key.endswith("/"):
            raise ManifestError(f"{spec} names no object; write s3://bucket/key")
        if s3 is None:
            from asyncgg.manifest.s3 import S3Downloader  # loads aiobotocore

            s3 = S3Downloader()
        with translate_os_errors(spec):
            return Source(spec, s3.open(bucket, key), owned=True)
    if "\0" in spec or not spec:
        raise ManifestError("the path is empty or contains a NUL byte; give a file")
    with translate_os_errors(spec):
        return Source(spec, Path(spec).open("rb"), owned=True)


@dataclass(frozen=True, slots=True)
class Block:
    """Complete lines, each with its line feed; or, if `too_long`, the start of one line."""

    first_line: int
    """Number of the first line, from 1."""
    data: bytes
    too_long: bool = False


def blocks(read: Callable[[int], bytes]) -> Iterator[Block]:
    """Split the bytes that `read` returns at line feeds; a last line without one gets one."""
    line, tail = 1, b""
    while chunk := read(BLOCK_SIZE):
        data = tail + chunk
        cut = data.rfind(b"\n") + 1
        if cut:
            yield Block(line, data[:cut])
            line += data.count(b"\n")
        tail = data[cut:]
        if len(tail) > MAX_LINE:
            head, tail = tail[: MAX_EXCERPT * 4], b""
            while chunk := read(BLOCK_SIZE):
                end = chunk.find(b"\n")
                if end >= 0:
                    tail = chunk[end + 1 :]
                    break
            yield Block(line, head, too_long=True)
            line += 1
    if tail:
        yield Block(line, tail if tail.endswith(b"\n") else tail + b"\n")
