"""Rule: how lists are written is said here: whole or not at all, never over what they are made from, times as text."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from asyncgg.errors import UsageError

__all__ = ["atomic_write_binary", "atomic_write_text", "checked_output_path", "is_same_file"]

_COMPANION_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", ".lock")


@contextlib.contextmanager
def atomic_write_text(path: Path, protected_path: Path, kind: str = "journal") -> Iterator[IO[str]]:
    """A UTF-8 text file to write, gzipped when the name ends in .gz; it is put in its place when the block ends well.

    A device or a pipe is written directly. Raises `UsageError` when it cannot be written, or belongs to `source`, the
    `kind` of file that is read for it.
    """
    with atomic_write_binary(path, protected_path, kind) as raw, contextlib.ExitStack() as stack:
        binary = raw
        if path.resolve().name.lower().endswith(".gz"):
            # No name and no time inside: the same rows give the same file.
            binary = cast("IO[bytes]", stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)))
        yield stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline=""))


@contextlib.contextmanager
def atomic_write_binary(path: Path, protected_path: Path, kind: str = "journal") -> Iterator[IO[bytes]]:
    """The same for a binary file, as it is."""
    target = checked_output_path(path, protected_path, kind)
    is_special = target.exists() and not target.is_file()
    temp_path = target if is_special else target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with temp_path.open("wb") as raw:
            yield raw
        if not is_special:
            temp_path.replace(target)
    except OSError as error:
        raise UsageError(f"{path}: it cannot be written: {error.strerror or error}") from None
    finally:
        if not is_special:
            temp_path.unlink(missing_ok=True)


def checked_output_path(path: Path, protected_path: Path, kind: str = "journal") -> Path:
    """The file that writing to `path` would make or replace. Raises `UsageError` when it may not be."""
    target = path.resolve()  # the target of a link is replaced, not the link
    if target.is_dir():
        raise UsageError(f"{path} is a directory: give a file")
    protected = protected_path.resolve()
    if target in {protected.with_name(protected.name + ending) for ending in _COMPANION_SUFFIXES} or is_same_file(
        target, protected
    ):
        raise UsageError(f"{path}: that would overwrite the {kind}; give another file")
    return target


def is_same_file(one: Path, other: Path) -> bool:
    """Whether both paths are the same existing file."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # missing, or not a path (`-`, s3://)
        return False
