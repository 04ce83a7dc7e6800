"""The files of scans: a snapshot replaces an older one only when it is complete."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from asyncgg.errors import UsageError
from asyncgg.files import os_errors_as
from asyncgg.inventory.schema import FORMAT
from asyncgg.inventory.scope import checkpoint, reopen_failed
from asyncgg.inventory.snapshot import Snapshot


@contextmanager
def working_snapshot(out: Path, *, replace: bool, is_export: bool, max_age: float) -> Generator[Path, None, None]:
    """The snapshot to scan into for `out`, locked until the block ends.

    A replacement or an export is scanned into a file next to `out`; a scan left there is resumed
    unless it is older than `max_age` seconds. Raises `UsageError` if `out` may not be replaced.
    """
    path = _working_path(out, replace=replace, is_export=is_export)
    if path == out:
        yield path  # the scan locks it
        return
    with FORMAT.lock(out):
        _reuse_or_discard(path, max_age)
        yield path


def promote(path: Path, out: Path, *, is_export: bool) -> None:
    """Move the complete snapshot `path` to `out`, or delete it after an export.

    Raises `SnapshotError` if another program has one of the two open, `UsageError` if the move
    fails; running the command again repeats it.
    """
    with os_errors_as(UsageError, f"{out}: cannot be replaced by {path}"):
        if is_export:
            path.unlink()
        elif path != out:
            for file in (path, out):
                checkpoint(file)
            path.replace(out)


def _working_path(out: Path, *, replace: bool, is_export: bool) -> Path:
    if is_export:
        if out.is_file() and not replace:
            raise UsageError(f"{out} already exists; pass --replace, or choose another --out")
        return out.with_name(f"{out.name}.scan")
    if not out.is_file() or not out.stat().st_size:
        return out
    with Snapshot(out) as snapshot:  # raises if this is not a snapshot: other files are never replaced
        finished = snapshot.finished
    if finished and not replace:
        raise UsageError(f"{out} already contains a complete scan; choose another file or pass --replace")
    return out.with_name(f"{out.name}.new") if finished else out


def _reuse_or_discard(path: Path, max_age: float) -> None:
    """Reopen the complete snapshot `path` to scan failed cores again; delete an old one."""
    if not path.is_file() or not path.stat().st_size:
        return
    with Snapshot(path) as snapshot:
        finished, age = snapshot.finished, time.time() - snapshot.started_at
    if finished and age <= max_age:
        reopen_failed(path)
    elif finished:
        path.unlink()
