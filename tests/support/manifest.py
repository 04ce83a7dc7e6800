"""Helpers of the manifest tests."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from asyncgg.manifest import BadRow, Chunk, open_manifest

ReadFunction = Callable[[int], bytes]


def read_all(chunks: Iterable[Chunk]) -> tuple[list[tuple[str, str]], list[BadRow]]:
    """All good and all bad rows."""
    good: list[tuple[str, str]] = []
    bad: list[BadRow] = []
    for chunk in chunks:
        good += chunk.good
        bad += chunk.bad
    return good, bad


def read_bytes(
    read: Callable[[str, ReadFunction], Iterator[Chunk]], data: bytes, *, step: int = 1 << 20
) -> tuple[list[tuple[str, str]], list[BadRow]]:
    """Pass `data` to a text parser, at most `step` bytes at a time."""
    stream = io.BytesIO(data)
    return read_all(read("fleet", lambda size: stream.read(min(size, step))))


def read_file(path: Path, name: str, data: bytes) -> tuple[list[tuple[str, str]], list[tuple[int, str]]]:
    """Write a file and read it: good rows, and (line, reason) of bad ones."""
    file = path / name
    file.write_bytes(data)
    good, bad = read_all(open_manifest(str(file)).chunks())
    assert all(row.file == str(file) for row in bad)
    return good, [(row.line, row.reason) for row in bad]
