"""Makes the snapshot that a journal waits for: its cores before the run, so that undo is possible."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from asyncgg.errors import GuardError, SnapshotError
from asyncgg.formatting import format_count
from asyncgg.inventory import FleetScan, ScanResult, Snapshot
from asyncgg.journal import JournalReader, write_meta
from asyncgg.runs.prepare import AWAITS_SNAPSHOT, default_snapshot
from asyncgg.runs.scan import scan_with_settings
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

_NOTHING_SENT: Final = "so undo would not be possible; nothing was sent"


def awaits_snapshot(meta: Mapping[str, str]) -> bool:
    """Whether the journal with this meta table is not to be run before `make_prior_snapshot`."""
    return bool(meta.get(AWAITS_SNAPSHOT))


async def make_prior_snapshot(
    journal: Path,
    settings: Settings,
    endpoint: Endpoint,
    account: CallerIdentity | None,
    *,
    on_scan: Callable[[FleetScan], object],
) -> ScanResult | None:
    """List the cores of the journal into the snapshot next to it; then the journal can be run.

    Returns the scan if it was stopped; the next call resumes it. Raises as `scan_with_settings`,
    `GuardError` if cores could not be listed, and `SnapshotError` if an older snapshot is there.
    """
    path = default_snapshot(journal)
    with JournalReader(journal) as reader:
        cores, created = [name for name, _ in reader.cores()], float(reader.meta()["created"])
    if not await asyncio.to_thread(_is_complete, path, created):
        scan = await scan_with_settings(path, settings, endpoint, account=account, cores=cores, on_scan=on_scan)
        if not scan.finished:
            return scan
    with Snapshot(path) as snapshot:
        counts = snapshot.counts()
    if incomplete := counts.denied + counts.failed:
        raise GuardError(
            f"{format_count(incomplete, 'core')} could not be listed, {_NOTHING_SENT}; delete {path} to list them again"
        )
    recorded = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
    await write_meta(journal, snapshot=recorded, created=f"{time.time():.3f}", **{AWAITS_SNAPSHOT: ""})
    return None


def _is_complete(path: Path, created: float) -> bool:
    """Whether an interrupted start has made the snapshot. Raises `SnapshotError` for one of another time."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with Snapshot(path) as snapshot:
        if snapshot.finished and snapshot.started_at < created:
            raise SnapshotError(f"{path} is older than the journal; delete it, or choose another folder")
        return snapshot.finished
