"""Scans all targets side by side, into a folder with one snapshot for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from asyncgg.errors import SnapshotError
from asyncgg.fleet.group import ActiveTargets, TargetResult
from asyncgg.formatting import format_count, format_duration, format_timestamp
from asyncgg.inventory import MAX_SCAN_AGE, AssociationRecord, ScanResult, Snapshot, SnapshotCounts
from asyncgg.inventory.files import promote, working_snapshot
from asyncgg.models import RunState
from asyncgg.report import EXIT_CODES
from asyncgg.runs import exit_code
from asyncgg.runs.connection import connection_from_settings
from asyncgg.runs.scan import scan_with_settings
from asyncgg.settings import Settings
from asyncgg.transport import resolve_endpoint

LISTED: Final = frozenset({0, 3})
"""Exit codes of a scan that has a complete snapshot."""
_RESCAN: Final = "scan it again with `asyncgg fleet inventory --replace`"


@dataclass(frozen=True, slots=True)
class TargetScan:
    """The snapshot of a target."""

    path: Path
    counts: SnapshotCounts
    scan: ScanResult | None
    """None if the snapshot was there already."""
    account: str = ""
    """Its account, if known."""


def snapshot_path(folder: Path, name: str) -> Path:
    """The snapshot of a target; a lookup for its journal in the same folder uses the same file."""
    return folder / f"{name}.fleet.db"


@dataclass(frozen=True, slots=True)
class FleetScanner:
    """Scans targets into `folder`. A complete snapshot is kept, an unfinished one is completed."""

    folder: Path
    settings: Mapping[str, Settings]
    """The settings of the targets by name."""
    replace: bool = False
    """Whether complete snapshots are replaced when the new ones are complete."""
    max_age: float = MAX_SCAN_AGE
    """Maximum seconds since the start of a scan that is kept or completed."""
    check_account: bool = False
    """Whether the account of a complete snapshot is checked, too."""

    async def scan(self, active: ActiveTargets, name: str) -> TargetResult[TargetScan]:
        """Scan one target.

        Raises `SnapshotError` if its snapshot is too old or of another fleet, and as
        `verify_account` and `scan_with_settings`.
        """
        settings, out = self.settings[name], snapshot_path(self.folder, name)
        kept = None if self.replace else await asyncio.to_thread(self._find_complete, out, settings)
        if kept is not None and not self.check_account:
            return _kept_result(name, kept)
        endpoint = await asyncio.to_thread(resolve_endpoint, connection_from_settings(settings))
        account = await active.accounts.verify(name, endpoint, settings)
        if kept is not None:
            if account is not None:
                _require_origin(kept.path, "account", kept.account, account.account)
            return _kept_result(name, kept)
        with working_snapshot(out, replace=self.replace, is_export=False, max_age=self.max_age) as path:
            scan = await scan_with_settings(
                path,
                settings,
                endpoint,
                account=account,
                max_age=self.max_age,
                on_scan=partial(active.attach, name),
            )
            if scan.finished:
                await asyncio.to_thread(partial(promote, path, out, is_export=False))
        return TargetResult(name, scan.state.value, exit_code(scan), scan.reason, TargetScan(out, scan.counts, scan))

    def _find_complete(self, path: Path, settings: Settings) -> TargetScan | None:
        """The snapshot, if it is complete."""
        if not path.is_file() or not path.stat().st_size:
            return None
        with Snapshot(path) as snapshot:
            if not snapshot.finished:
                return None
            origin = snapshot.origin
            _require_origin(path, "account", origin.account, settings.expect_account)
            _require_origin(path, "Region", origin.region, settings.region)
            if (age := time.time() - snapshot.started_at) > self.max_age:
                raise SnapshotError(
                    f"{path} was started {format_timestamp(snapshot.started_at)}, {format_duration(age)} ago;"
                    f" --max-age allows {format_duration(self.max_age)}; {_RESCAN}"
                )
            return TargetScan(path, snapshot.counts(), None, origin.account)


def _kept_result(name: str, kept: TargetScan) -> TargetResult[TargetScan]:
    incomplete = kept.counts.denied + kept.counts.failed
    state = RunState.PARTIAL if incomplete else RunState.COMPLETE
    reason = f"{format_count(incomplete, 'core')} could not be listed; {_RESCAN}" if incomplete else ""
    return TargetResult(name, state.value, EXIT_CODES[state], reason, kept)


def _require_origin(path: Path, kind: str, present: str, expected: str | None) -> None:
    if present and expected and present != expected:
        raise SnapshotError(f"{path} is of {kind} {present}, the target of {expected}; {_RESCAN}")


@dataclass(frozen=True, slots=True)
class TargetMatches:
    """What the snapshot of a target has of the wanted things."""

    records: Sequence[AssociationRecord]
    unlisted_cores: int
    """Cores that could not be listed, so that things on them are not found."""
    started_at: float
    """Start of the scan, in seconds since 1970."""


def find_in_snapshot(path: Path, things: Sequence[str]) -> TargetMatches:
    """Look the things up. Blocking. Raises `SnapshotError` if the snapshot is missing, damaged or unfinished."""
    with Snapshot(path) as snapshot:
        snapshot.require_finished()
        counts = snapshot.counts()
        return TargetMatches(list(snapshot.pairs_of_things(things)), counts.denied + counts.failed, snapshot.started_at)
