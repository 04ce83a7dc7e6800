"""Rule: which file a sweep goes into, and how it takes the place it is meant for, is decided here.

What is to be replaced, and what is exported, is swept beside it; one process at a time does that for a place.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from asyncgg.errors import UsageError
from asyncgg.inventory import Snapshot
from asyncgg.inventory.schema import FORMAT
from asyncgg.inventory.scope import checkpoint, reopen_failed

__all__ = ["promote", "working_snapshot"]


@contextmanager
def working_snapshot(out: Path, *, replace: bool, is_export: bool, max_age: float) -> Generator[Path, None, None]:
    """The snapshot to sweep into for `out`, which no other process has until the block ends.

    A sweep whose start ended before it took its place is gone on with, unless it was begun more than `max_age` seconds
    ago. Raises `UsageError` when something finished is in the way and is to stay.
    """
    path = _working_path(out, replace=replace, is_export=is_export)
    if path == out:
        yield path  # whoever sweeps into it has its lock
        return
    with FORMAT.lock(out):
        _reuse_or_discard(path, max_age)
        yield path


def promote(path: Path, out: Path, *, is_export: bool) -> None:
    """Have the finished snapshot `path` take the place `out`, or go when it was exported there.

    Raises `SnapshotError` when another program has one of the two open, `UsageError` when it cannot be done; the same
    command then tries it again.
    """
    try:
        if is_export:
            path.unlink()
        elif path != out:
            for file in (path, out):
                checkpoint(file)
            path.replace(out)
    except OSError as error:
        raise UsageError(f"{out}: the snapshot {path} cannot take its place: {error.strerror}") from None


def _working_path(out: Path, *, replace: bool, is_export: bool) -> Path:
    if is_export:
        if out.is_file() and not replace:
            raise UsageError(f"{out}: there is such a file already; give --replace, or another --out")
        return out.with_name(f"{out.name}.sweep")
    if not out.is_file() or not out.stat().st_size:
        return out
    with Snapshot(out) as snapshot:  # what is none is never replaced
        finished = snapshot.finished
    if finished and not replace:
        raise UsageError(f"snapshot {out}: it is finished; give --replace to sweep anew, or another --out")
    return out.with_name(f"{out.name}.new") if finished else out


def _reuse_or_discard(path: Path, max_age: float) -> None:
    """Make a finished snapshot at `path` one to be gone on with, or remove it when it is too old for that."""
    if not path.is_file() or not path.stat().st_size:
        return
    with Snapshot(path) as snapshot:
        finished, age = snapshot.finished, time.time() - snapshot.started_at
    if finished and age <= max_age:
        reopen_failed(path)
    elif finished:
        path.unlink()
