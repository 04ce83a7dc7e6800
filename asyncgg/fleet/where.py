"""Finds things in the snapshot of a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncgg.inventory import AssociationRecord, Snapshot


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
