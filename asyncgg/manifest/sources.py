"""Rule: getting at a manifest's bytes lives here: files, standard input, S3, gzip, byte order marks; no row does.

Every failure of the system becomes one `ManifestError` with the manifest's name in it.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from asyncgg.errors import ManifestError

__all__ = ["S3Opener", "Source", "open_source"]

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_UNSUPPORTED_MAGIC: Final = (
    (b"PAR1", "is Parquet: name it .parquet or give `--format parquet`"),
    (b"\xff\xfe", "is UTF-16 text: save the manifest as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text: save the manifest as UTF-8"),
    (b"PK\x03\x04", "is a ZIP archive or an Excel file: save the manifest as CSV in UTF-8"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: decompress it, or use gzip"),
    (b"BZh", "is compressed with bzip2: decompress it, or use gzip"),
    (b"\xfd7zXZ", "is compressed with xz: decompress it, or use gzip"),
)


class S3Opener(Protocol):
    """Gives an object of S3 as a file."""

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open the object for reading, seekable; closing it frees what it took.

        Raises `ManifestError` when it cannot be read, `CredentialsError` when we may not.
        """
        ...


class _PrefixedStream:
    """A stream that gives some bytes again which were already read from it."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> bytes:
        if not self._head:
            return self._rest.read(size)
        head, self._head = self._head[:size], self._head[size:]
        return head + self._rest.read(size - len(head)) if size > len(head) else head


class Source:
    """A manifest's bytes, opened."""

    def __init__(self, name: str, raw: BinaryIO, *, owned: bool) -> None:
        self.name = name
        self._raw = raw
        self._owned = owned
        self._text: BinaryIO | None = None
        self._temp_copy: BinaryIO | None = None

    def open_text(self, *, expect_gzip: bool) -> None:
        """Make ready to `read` text: unpack gzip (`gzipped` says the name promised it), drop a byte order mark.

        Raises `ManifestError` when the bytes are certainly something else.
        """
        with translate_os_errors(self.name):
            text: BinaryIO = self._raw
            head = text.read(8)
            if head.startswith(_GZIP_MAGIC):
                text = cast(BinaryIO, gzip.GzipFile(fileobj=cast(BinaryIO, _PrefixedStream(head, text)), mode="rb"))
                head = text.read(8)
            elif expect_gzip and head:
                raise ManifestError(f"{self.name} is not gzip: compress it, or name it without .gz")
            for magic, reason in _UNSUPPORTED_MAGIC:
                if head.startswith(magic):
                    raise ManifestError(f"{self.name} {reason}")
            self._text = cast(BinaryIO, _PrefixedStream(head.removeprefix(_BOM), text))

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes of text; empty at the end.

        Raises `ManifestError` when the disk or the gzip stream fails.
        """
        assert self._text is not None, "start_text() comes first"
        with translate_os_errors(self.name):
            return self._text.read(size)

    def open_seekable(self) -> BinaryIO:
        """The bytes as a file that can seek: the file itself, or a temporary copy of a stream."""
        with translate_os_errors(self.name):
            if self._raw.seekable():
                return self._raw
            self._temp_copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - close() closes it
            shutil.copyfileobj(self._raw, self._temp_copy, 1 << 20)
            self._temp_copy.seek(0)
            return self._temp_copy

    def close(self) -> None:
        """Close what was opened here; standard input stays open."""
        if self._temp_copy is not None:
            self._temp_copy.close()
        if self._owned:
            self._raw.close()


@contextmanager
def translate_os_errors(name: str) -> Iterator[None]:
    """Turn what the system says about reading `name` into one sentence."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ManifestError(
            f"{name}: the gzip data is broken or cut off ({error}): fetch or compress it anew"
        ) from None
    except FileNotFoundError:
        raise ManifestError(f"{name}: no such file: check the path") from None
    except IsADirectoryError:
        raise ManifestError(f"{name} is a directory: give one file") from None
    except PermissionError:
        raise ManifestError(f"{name}: no permission to read it") from None
    except OSError as error:
        raise ManifestError(f"{name} cannot be read: {error.strerror or error}") from None


def open_source(spec: str, stdin: BinaryIO | None, s3: S3Opener | None) -> Source:
    """Open a path, `-` or `s3://bucket/key`.

    Raises `ManifestError` or `CredentialsError` when it cannot be opened.
    """
    if spec == "-":
        if stdin is None and sys.stdin is None:
            raise ManifestError("-: there is no standard input: give a file")
        return Source("<stdin>", stdin if stdin is not None else cast(BinaryIO, sys.stdin.buffer), owned=False)
    if spec.startswith("s3://"):
        bucket, _, key = spec.removeprefix("s3://").partition("/")
        if not bucket or not key or key.endswith("/"):
            raise ManifestError(f"{spec} names no object: write s3://bucket/key")
        if s3 is None:
            from asyncgg.manifest.s3 import S3Downloader  # imports all of aiobotocore: only when it is needed

            s3 = S3Downloader()
        with translate_os_errors(spec):
            return Source(spec, s3.open(bucket, key), owned=True)
    if "\0" in spec or not spec:
        raise ManifestError("the manifest's path is empty or holds a NUL byte: give a file")
    with translate_os_errors(spec):
        return Source(spec, Path(spec).open("rb"), owned=True)
