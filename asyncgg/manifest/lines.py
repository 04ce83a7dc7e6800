"""Rule: cutting a stream of bytes into blocks of numbered lines lives here, in bounded memory; no format does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from asyncgg.manifest.rows import MAX_EXCERPT

__all__ = ["BLOCK_SIZE", "MAX_LINE", "Block", "blocks"]

BLOCK_SIZE: Final = 256 * 1024
"""Bytes asked for at once: some thousand rows, so that what a block costs is spread over them."""

MAX_LINE: Final = 64 * 1024
"""Most bytes of one line, and of one CSV row of several lines; what is longer is a bad row, never held whole."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, each with its line feed; or, when `long`, only the beginning of one line longer than `MAX_LINE`."""

    first_line: int
    """Number of the first line, from 1."""
    data: bytes
    too_long: bool = False


def blocks(read: Callable[[int], bytes]) -> Iterator[Block]:
    """Cut what `read` gives at line feeds; a last line without one gets one. At most some blocks are in memory."""
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
