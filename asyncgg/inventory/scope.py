"""Rule: what a sweep is about, and whether a file that is there already is a part of it, is decided here.

A sweep that is resumed must be the same sweep: another account, Region or filter, or a day in between, would make a
snapshot of a fleet that never was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from asyncgg.errors import SnapshotError, UsageError
from asyncgg.inventory import schema
from asyncgg.inventory.models import Origin
from asyncgg.inventory.store import SnapshotStore
from asyncgg.models import CoreDevice, invalid_name_reason
from asyncgg.transport.base import CoreFilter

__all__ = ["MAX_SCAN_AGE", "ScanScope", "begin_or_resume", "checkpoint", "reopen_failed", "require_unfinished"]

MAX_SCAN_AGE: Final = 86_400.0
"""Seconds after which an unfinished sweep is too old to be gone on with, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class ScanScope:
    """What a sweep is to list: the cores the service tells by `filters`, or just the named ones.

    Raises `UsageError` for a name that is none, and for filters beside names.
    """

    origin: Origin
    filters: CoreFilter
    cores: tuple[str, ...] | None

    def __post_init__(self) -> None:
        if self.cores is None:
            return
        if self.filters != CoreFilter():
            raise UsageError("filters choose among all cores: give either them or the cores' names")
        for name in self.cores:
            if problem := invalid_name_reason(name):
                raise UsageError(f"core {name[:200]!a} {problem}")

    @classmethod
    def of(cls, origin: Origin, filters: CoreFilter | None, cores: Sequence[str] | None) -> ScanScope:
        """The same from what callers have; names that come twice count once."""
        return cls(origin, filters or CoreFilter(), None if cores is None else tuple(dict.fromkeys(cores)))

    def meta(self) -> dict[str, str]:
        """As it is kept in the snapshot."""
        return {
            **asdict(self.origin),
            "filters": json.dumps(asdict(self.filters)),
            "cores_digest": "" if self.cores is None else _digest(self.cores),
        }


def require_unfinished(path: Path) -> None:
    """Raise `SnapshotError` when the snapshot at `path` is finished; it is only read for that, and stays as it is."""
    if not path.is_file() or not path.stat().st_size:
        return
    with closing(schema.open_existing(path, "ro")) as connection:
        if SnapshotStore(connection).get("finished"):
            raise SnapshotError(f"snapshot {path}: it is finished; give another file, or replace this one")


def begin_or_resume(store: SnapshotStore, path: Path, scope: ScanScope, max_age: float) -> bool:
    """Make the snapshot ready to be swept into; whether that goes on with an earlier start.

    It must not be finished. Raises `SnapshotError` when it is of another sweep, or begun more than `max_age` seconds
    ago.
    """
    started = store.get("started_at")
    if not started or not store.page_count():  # nothing was had yet: whatever it was to be, it can be this
        store.clear()
        store.put(
            started_at=f"{time.time():.3f}", cores_token="", cores_done=int(scope.cores is not None), **scope.meta()
        )
        if scope.cores is not None:
            store.add_cores(1, [CoreDevice(name) for name in scope.cores])
        return False
    for key, now in scope.meta().items():
        before = store.get(key)
        # An account that is not known (a custom endpoint) may be any.
        if before != now and not (key == "account" and not (before and now)):
            raise SnapshotError(
                f"snapshot {path}: it is an unfinished sweep of {_describe(key, before)}, this one is of"
                f" {_describe(key, now)}; give another file, or delete it"
            )
    age = time.time() - float(started)
    if age > max_age:
        raise SnapshotError(
            f"snapshot {path}: it is an unfinished sweep begun {age / 3600:.0f} hours ago, too long to be gone on with;"
            " delete it and sweep anew"
        )
    store.put(account=scope.origin.account or store.get("account"))
    store.reopen_failed()
    return True


def reopen_failed(path: Path) -> None:
    """Make the finished snapshot at `path` a sweep to be gone on with: asked for is only what was denied or failed.

    Nobody else may be sweeping into it. Raises `SnapshotError`, or `SnapshotWriteError` when the disk is full.
    """
    try:
        with closing(schema.open_existing(path, "rw")) as connection:
            connection.execute("DELETE FROM meta WHERE key IN ('finished', 'ended_at')")
    except sqlite3.Error as error:
        raise schema.translate_error(error, path, writing=True) from None


def checkpoint(path: Path) -> None:
    """Have all of the snapshot at `path` in its one file, so that this can be moved, or another take its place.

    Somebody who reads it leaves a second file beside it, which would then count as the other's. Raises `SnapshotError`
    while it is being read.
    """
    wal_path = path.with_name(f"{path.name}-wal")
    if not wal_path.exists():
        return
    with contextlib.suppress(sqlite3.Error), closing(schema.open_existing(path, "rw")) as connection:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
    if wal_path.exists():
        raise SnapshotError(
            f"snapshot {path}: another program has it open; when that is closed, the same command goes on"
        )


def _digest(cores: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(cores)).encode()).hexdigest()


def _describe(key: str, value: str) -> str:
    if key == "cores_digest":
        return "these named cores" if value else "all cores"
    if key == "filters":
        filters = {name: criterion for name, criterion in json.loads(value or "{}").items() if criterion}
        return (
            " and ".join(f"{name.replace('_', ' ')} {criterion}" for name, criterion in filters.items()) or "no filters"
        )
    return f"{key} {value or '(unknown)'}"
