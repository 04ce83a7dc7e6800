"""Opens a manifest in the right format and reads all of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, Self

from asyncgg.errors import InternalError, ManifestError, UsageError
from asyncgg.manifest.csv_format import csv_chunks
from asyncgg.manifest.jsonl_format import jsonl_chunks
from asyncgg.manifest.parquet_format import parquet_chunks
from asyncgg.manifest.rows import Chunk
from asyncgg.manifest.sources import S3Opener, Source, open_source

FORMATS: Final = ("csv", "jsonl", "parquet")
"""Values of `format` (option `--format`)."""

_FORMAT_BY_SUFFIX: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def open_manifest(
    spec: str,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    stdin: BinaryIO | None = None,
    s3: S3Opener | None = None,
) -> ManifestReader:
    """Open a manifest: a path, `-` for standard input, or `s3://bucket/key`. Blocking.

    The format is that of the suffix (.csv, .jsonl, .ndjson, .parquet; text also .gz) unless
    `format` is given. Standard input is CSV. `s3` opens S3 objects; by default with credentials and
    Region of the environment.

    Raises:
        ManifestError: the manifest cannot be opened.
        CredentialsError: S3 denied access.
        UsageError: unknown `format`.
    """
    if format is not None or spec.startswith("s3://"):
        manifest_format(spec, format)  # before anything is downloaded
    source = open_source(spec, stdin, s3)
    try:
        lower = spec.lower()
        resolved_format = manifest_format(spec, format)
        if resolved_format == "parquet" and lower.endswith(".gz"):
            raise ManifestError(f"{spec}: Parquet cannot be gzipped; decompress the file")
        if resolved_format != "parquet":
            source.open_text(expect_gzip=lower.endswith(".gz"))
    except BaseException:
        source.close()
        raise
    return ManifestReader(source, resolved_format)


def manifest_format(spec: str, format: str | None) -> str:  # noqa: A002 - named as the option is
    """The format of a manifest: `format`, else that of its suffix. Raises as `open_manifest`."""
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown manifest format `{format}`; must be one of: {', '.join(FORMATS)}")
    if format is not None or spec == "-":
        return format or "csv"
    stem = spec.lower().removesuffix(".gz")
    for suffix, name in _FORMAT_BY_SUFFIX.items():
        if stem.endswith(suffix):
            return name
    raise ManifestError(
        f"{spec}: unknown format; name the file .csv, .jsonl, .ndjson or .parquet (text also .gz), or use --format"
    )


class ManifestReader:
    """An open manifest, which can be read once:

    `with open_manifest(...) as manifest: for chunk in manifest.chunks()`.

    A truncated end (gzip, disk) is detected only there: use the rows after the last one was read.
    """

    def __init__(self, source: Source, format: str) -> None:  # noqa: A002 - named as the option is
        self._source = source
        self._started = False
        self.format = format
        """One of `FORMATS`."""

    @property
    def name(self) -> str:
        """The name in messages: the path or URL as given, or `<stdin>`."""
        return self._source.name

    def chunks(self, *, allow_empty: bool = False) -> Iterator[Chunk]:
        """Yield all rows, some thousand at a time, in bounded memory.

        Raises `ManifestError` if the manifest cannot be read to the end, lacks a column or has no
        rows, and `UsageError` if the format requires a package that is not installed. With
        `allow_empty` a manifest without rows is valid, but not a CSV without a header.
        """
        if self._started:
            raise InternalError(f"{self.name} was already read; open the manifest again")
        self._started = True
        return self._chunks(allow_empty)

    def _chunks(self, allow_empty: bool) -> Iterator[Chunk]:
        any_row, has_header = False, self.format != "csv"
        try:
            for chunk in self._read():
                has_header = True  # CSV has no chunk without one
                any_row = any_row or bool(chunk.good or chunk.bad)
                if any((chunk.good, chunk.bad, chunk.headers)):
                    yield chunk
        finally:
            self.close()
        if not has_header and allow_empty:
            raise ManifestError(f"{self.name} has no header; --allow-empty accepts a header without rows")
        if not any_row and not allow_empty:
            raise ManifestError(f"{self.name} has no associations; write one row per association, or use --allow-empty")

    def _read(self) -> Iterator[Chunk]:
        source = self._source
        if self.format == "parquet":
            return parquet_chunks(source.name, source.open_seekable())
        return (csv_chunks if self.format == "csv" else jsonl_chunks)(source.name, source.read)

    def close(self) -> None:
        """Close the manifest. Can be called more than once."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
