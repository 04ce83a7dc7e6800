"""Rule: files that reports write appear whole or not at all; the journal is never one of them."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from asyncgg.errors import UsageError

__all__ = ["written"]

_PARTS_OF_JOURNAL: Final = ("", "-wal", "-shm", "-journal", ".lock")


@contextlib.contextmanager
def written(path: Path, journal: Path) -> Iterator[IO[str]]:
    """A UTF-8 text file to write, gzipped when the name ends in .gz; it is put in its place when the block ends well.

    A device or a pipe is written directly. Raises `UsageError` when it cannot be written, or belongs to `journal`.
    """
    target = _checked(path, journal)
    direct = target.exists() and not target.is_file()
    part = target if direct else target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(part.open("wb"))
            binary: IO[bytes] = raw
            if target.name.lower().endswith(".gz"):
                # No name and no time inside: the same rows give the same file.
                binary = cast("IO[bytes]", stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)))
            yield stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline=""))
        if not direct:
            part.replace(target)
    except OSError as error:
        raise UsageError(f"{path}: it cannot be written: {error.strerror or error}") from None
    finally:
        if not direct:
            part.unlink(missing_ok=True)


def _checked(path: Path, journal: Path) -> Path:
    target = path.resolve()  # the target of a link is replaced, not the link
    if target.is_dir():
        raise UsageError(f"{path} is a directory: give a file")
    whole = journal.resolve()
    if target in {whole.with_name(whole.name + ending) for ending in _PARTS_OF_JOURNAL} or _same(target, whole):
        raise UsageError(f"{path}: that would overwrite the journal; give another file")
    return target


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
