"""Looks things up in the snapshots of all targets, and builds the journals of a campaign."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.group import TargetResult
from asyncgg.fleet.results import TargetFailedError
from asyncgg.fleet.scan import TargetScan
from asyncgg.fleet.targets import FleetTarget
from asyncgg.inventory import MAX_SCAN_AGE, Snapshot
from asyncgg.journal import JournalReader
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.connection import connection_from_settings
from asyncgg.runs.lookup import LookupRequest, LookupTargets, prepare_from_snapshot
from asyncgg.settings import Settings
from asyncgg.transport import resolve_endpoint

_LISTED: Final = frozenset({0, 3})
"""Exit codes of a scan that has a complete snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLookup:
    """The things, and where they can be."""

    things: LookupTargets
    targets: Mapping[str, tuple[FleetTarget, Settings]]
    scans: Mapping[str, TargetResult[TargetScan]]
    """The scans by target."""
    max_age: float = MAX_SCAN_AGE
    allow_incomplete: bool = False
    found: set[str] = field(default_factory=set)
    """The things found by `build` so far."""

    @property
    def missing(self) -> list[str]:
        """The things that no target has."""
        return [name for name in self.things.names if name not in self.found]

    def add_journal(self, path: Path) -> None:
        """Count the things of a journal that is there already as found. Raises `JournalError`."""
        with JournalReader(path) as reader:
            self.found.update(row.thing for row in reader.outcomes())

    def build(self, lane: CampaignLane) -> tuple[JournalBuilder, Plan] | None:
        """The journal of a lane; None if none of the things is there. Blocking.

        Raises `TargetFailedError` if its scan did not complete, and as `prepare_from_snapshot`.
        """
        result = self.scans[lane.name]
        if result.value is None or result.exit not in _LISTED:
            raise TargetFailedError(result.reason or result.state, result.exit)
        target, settings = self.targets[lane.name]
        path, just_scanned = result.value.path, result.value.scan is not None
        builder, plan = prepare_from_snapshot(
            LookupRequest(self.things, path, self.max_age, self.allow_incomplete),
            lane.journal,
            settings,
            resolve_endpoint(connection_from_settings(settings)),
            just_scanned=just_scanned,
            account=target.account,
        )
        with Snapshot(path) as snapshot:
            self.found.update(record.thing for record in snapshot.pairs_of_things(self.things.names))
        if not plan.things:
            builder.discard()
            return None
        return builder, plan


def digest_of_things(things: LookupTargets) -> str:
    """Identifies the list, in any order."""
    return hashlib.sha256("\n".join(["things", *sorted(things.names)]).encode()).hexdigest()
