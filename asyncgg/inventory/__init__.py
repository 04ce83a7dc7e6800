"""What the fleet looks like now: sweeps into snapshots, and what can be asked of a snapshot.

    lane = Lane(transport, policy)
    swept = await sweep(Path("fleet.db"), lane, transport, origin=Origin(region="eu-west-1"))
    with Snapshot(swept.path) as snapshot:
        for core, thing, associated_at in snapshot.pairs_of_things(["sensor-17"]): ...

A sweep takes its tokens from a lane, so that it and a run can share one quota. It may be stopped, cancelled or killed
at any moment: the same call goes on where it was. `Swept.failed_share` says how much of the fleet is not known.

Rule: the names the rest of asyncgg may use of inventories are listed here; nothing is defined here.
"""

from asyncgg.inventory.estimate import minimum_requests
from asyncgg.inventory.models import (
    AssociationRecord,
    CoreState,
    Origin,
    ScannedCore,
    ScanProgress,
    ScanResult,
    SnapshotCounts,
)
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
