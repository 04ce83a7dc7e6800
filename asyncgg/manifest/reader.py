"""Rule: choosing the format of a manifest and reading it from end to end live here; formats and bytes live beside."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Final, Self

from asyncgg.errors import InternalError, ManifestError, UsageError
from asyncgg.manifest.csv_format import csv_chunks
from asyncgg.manifest.jsonl_format import jsonl_chunks
from asyncgg.manifest.parquet_format import parquet_chunks
from asyncgg.manifest.rows import Chunk
from asyncgg.manifest.sources import S3Opener, Source, open_source

__all__ = ["FORMATS", "ManifestReader", "open_manifest"]

FORMATS: Final = ("csv", "jsonl", "parquet")
"""What `format` (the option `--format`) may be."""

_FORMAT_BY_SUFFIX: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def open_manifest(
    spec: str,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    stdin: BinaryIO | None = None,
    s3: S3Opener | None = None,
) -> ManifestReader:
    """Open a manifest: a path, `-` for standard input, or `s3://bucket/key` (by means of `s3`, else an
    `asyncgg.manifest.s3.S3Downloader` that takes its settings from the environment).

    The ending says the format (.csv, .jsonl, .ndjson, .parquet; text also .gz) unless `format` does; standard input
    is CSV. Blocking: from a coroutine, call it and read it in a worker thread.
    Raises `ManifestError` when it cannot be opened, `CredentialsError` when S3 refuses us, `UsageError` for an
    unknown `format`.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown manifest format `{format}`: use one of {', '.join(FORMATS)}")
    if format is None and spec.startswith("s3://"):
        _format_from_suffix(spec)  # before anything is downloaded
    source = open_source(spec, stdin, s3)
    try:
        lower = spec.lower()
        resolved_format = format or ("csv" if spec == "-" else _format_from_suffix(spec))
        if resolved_format == "parquet" and lower.endswith(".gz"):
            raise ManifestError(f"{spec}: Parquet is compressed inside: decompress the .gz")
        if resolved_format != "parquet":
            source.open_text(expect_gzip=lower.endswith(".gz"))
    except BaseException:
        source.close()
        raise
    return ManifestReader(source, resolved_format)


def _format_from_suffix(spec: str) -> str:
    lower = spec.lower()
    stem = lower.removesuffix(".gz")
    for suffix, name in _FORMAT_BY_SUFFIX.items():
        if stem.endswith(suffix):
            return name
    raise ManifestError(
        f"{spec}: the ending does not say what it is: use .csv, .jsonl, .ndjson or .parquet (text also .gz), "
        "or give `--format`"
    )


class ManifestReader:
    """One opened manifest, to be read once: `with open_manifest(...) as manifest: for chunk in manifest.chunks()`.

    A broken end (a cut gzip, a failing disk) is seen only when the reading gets there: act on rows after the last.
    """

    def __init__(self, source: Source, format: str) -> None:  # noqa: A002 - named as the option is
        self._source = source
        self._started = False
        self.format = format
        """One of `FORMATS`."""

    @property
    def name(self) -> str:
        """What messages call it: the path or address as given, or `<stdin>`."""
        return self._source.name

    def chunks(self) -> Iterator[Chunk]:
        """Give all rows, some thousand at a time; memory does not grow with the manifest.

        Raises `ManifestError` when it cannot be read to its end, lacks the columns, or has no row at all, `UsageError`
        when a format needs a package that is not installed.
        """
        if self._started:
            raise InternalError(f"{self.name} was already read: open it again")
        self._started = True
        return self._chunks()

    def _chunks(self) -> Iterator[Chunk]:
        any_row = False
        try:
            for chunk in self._read():
                if chunk.good or chunk.bad:
                    any_row = True
                    yield chunk
        finally:
            self.close()
        if not any_row:
            raise ManifestError(f"{self.name} has no associations: it needs a row for each thing")

    def _read(self) -> Iterator[Chunk]:
        source = self._source
        if self.format == "parquet":
            return parquet_chunks(source.name, source.open_seekable())
        return (csv_chunks if self.format == "csv" else jsonl_chunks)(source.name, source.read)

    def close(self) -> None:
        """Close what was opened; twice does no harm."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
