"""Scan a fleet into a snapshot file, and query snapshots.

    lane = Lane(transport, policy)
    result = await scan_fleet(Path("fleet.db"), lane, transport, origin=Origin(region="eu-west-1"))
    with Snapshot(result.path) as snapshot:
        for core, thing, associated_at in snapshot.pairs_of_things(["sensor-17"]): ...

A scan takes its tokens from a lane, so that it can share a quota with a run. It can be stopped,
cancelled or killed at any moment: the same call resumes it. `ScanResult.failed_share` is the share
of cores that could not be listed.
"""

from asyncgg.inventory.models import (
    AssociationRecord,
    CoreState,
    Origin,
    ScannedCore,
    ScanProgress,
    ScanResult,
    SnapshotCounts,
)
from asyncgg.inventory.queue import minimum_requests
from asyncgg.inventory.scanner import FleetScan, ScanOptions, scan_fleet
from asyncgg.inventory.scope import MAX_SCAN_AGE
from asyncgg.inventory.snapshot import Snapshot

__all__ = [
    "MAX_SCAN_AGE",
    "AssociationRecord",
    "CoreState",
    "FleetScan",
    "Origin",
    "ScanOptions",
    "ScanProgress",
    "ScanResult",
    "ScannedCore",
    "Snapshot",
    "SnapshotCounts",
    "minimum_requests",
    "scan_fleet",
]
