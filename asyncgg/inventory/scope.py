"""What a scan covers, and whether an existing snapshot file can be resumed, reopened or moved."""

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
from asyncgg.inventory.models import Origin
from asyncgg.inventory.schema import FORMAT
from asyncgg.inventory.store import SnapshotStore
from asyncgg.models import CoreDevice, invalid_name_reason
from asyncgg.transport.base import CoreFilter

MAX_SCAN_AGE: Final = 86_400.0
"""Default age in seconds after which an unfinished scan is too old to resume."""


@dataclass(frozen=True, slots=True)
class ScanScope:
    """What a scan lists: the cores that match `filters`, or only the named `cores`.

    Raises `UsageError` for an invalid name, and for filters together with names.
    """

    origin: Origin
    filters: CoreFilter
    cores: tuple[str, ...] | None

    def __post_init__(self) -> None:
        if self.cores is None:
            return
        if self.filters != CoreFilter():
            raise UsageError("filters apply to all cores: give either filters or core names")
        for name in self.cores:
            if problem := invalid_name_reason(name):
                raise UsageError(f"invalid core name {name[:200]!a}: {problem}")

    @classmethod
    def of(cls, origin: Origin, filters: CoreFilter | None, cores: Sequence[str] | None) -> ScanScope:
        """Create a scope; duplicate names count once."""
        return cls(origin, filters or CoreFilter(), None if cores is None else tuple(dict.fromkeys(cores)))

    def meta(self) -> dict[str, str]:
        """The scope as metadata of the snapshot."""
        return {
            **asdict(self.origin),
            "filters": json.dumps(asdict(self.filters)),
            "cores_digest": "" if self.cores is None else _digest(self.cores),
        }


def empty_group_warning(filters: CoreFilter, cores: int) -> str:
    """A warning if `cores`, the number of listed cores, is zero for a thing group; else empty.

    The service can answer with an empty list for a thing group that has cores [aws/aws-cli issue 6121].
    """
    if cores or not filters.thing_group_arn:
        return ""
    return (
        f"no core is listed for the thing group {filters.thing_group_arn}; the list can be empty although the group"
        " has cores: compare it with `aws iot list-things-in-thing-group`, or scan without the group"
    )


def require_unfinished(path: Path) -> None:
    """Raise `SnapshotError` when the snapshot at `path` is complete; the file is only read."""
    if not path.is_file() or not path.stat().st_size:
        return
    with closing(FORMAT.open(path, read_only=True)) as connection:
        if SnapshotStore(connection).get("finished"):
            raise SnapshotError(f"{path} already contains a complete scan; choose another file or pass --replace")


def begin_or_resume(store: SnapshotStore, path: Path, scope: ScanScope, max_age: float) -> bool:
    """Prepare an unfinished snapshot for a scan of `scope`; True when it resumes an earlier start.

    Raises `SnapshotError` when the file belongs to another scan, or that scan started more than
    `max_age` seconds ago.
    """
    started = store.get("started_at")
    if not started or not store.page_count():  # nothing was recorded: any scan can use it
        store.clear()
        store.put(
            started_at=f"{time.time():.3f}", cores_token="", cores_done=int(scope.cores is not None), **scope.meta()
        )
        if scope.cores is not None:
            store.add_cores(1, [CoreDevice(name) for name in scope.cores])
        return False
    for key, now in scope.meta().items():
        before = store.get(key)
        # An unknown account (custom endpoint) matches every account.
        if before != now and not (key == "account" and not (before and now)):
            raise SnapshotError(
                f"{path} contains an unfinished scan of {_describe(key, before)}, this scan is of"
                f" {_describe(key, now)}; choose another file or delete it"
            )
    age = time.time() - float(started)
    if age > max_age:
        raise SnapshotError(
            f"{path} contains an unfinished scan, started {age / 3600:.0f} hours ago: too old to resume;"
            " delete it and scan again"
        )
    store.put(account=scope.origin.account or store.get("account"))
    store.reopen_failed()
    return True


def reopen_failed(path: Path) -> None:
    """Make a complete snapshot unfinished again: a scan then lists only what was denied or failed.

    No other process may write the file. Raises `SnapshotError`, or `SnapshotWriteError` when the
    disk is full.
    """
    with FORMAT.translate_errors(path, writing=True), closing(FORMAT.open(path, read_only=False)) as connection:
        connection.execute("DELETE FROM meta WHERE key IN ('finished', 'ended_at')")


def checkpoint(path: Path) -> None:
    """Merge the WAL file of a snapshot into it, so that it can be moved or replaced.

    Raises `SnapshotError` while another process reads it: its WAL file would then belong to the
    wrong snapshot.
    """
    wal_path = path.with_name(f"{path.name}-wal")
    if not wal_path.exists():
        return
    with contextlib.suppress(sqlite3.Error), closing(FORMAT.open(path, read_only=False)) as connection:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
    if wal_path.exists():
        raise SnapshotError(f"{path} is open in another program; close that program and run the same command again")


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
