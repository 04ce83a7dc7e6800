"""Rule: whether a snapshot may speak for how things were before a run, and what it says, is decided here."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from asyncgg.errors import UsageError
from asyncgg.formatting import format_timestamp
from asyncgg.inventory import Snapshot
from asyncgg.runs.undo_plan import PriorState

__all__ = ["prior_state_from_snapshot"]


@contextlib.contextmanager
def prior_state_from_snapshot(
    inventory: Path | None, journal: Path, meta: Mapping[str, str]
) -> Iterator[PriorState | None]:
    """What the snapshot `inventory` holds, for as long as the block runs; None without one.

    `meta` is that of `journal`. Raises `SnapshotError` when it is no finished snapshot, `UsageError` when it is of
    another account, Region or endpoint, or not from before the run.
    """
    if inventory is None:
        yield None
        return
    with Snapshot(inventory) as snapshot:
        snapshot.require_finished()
        _require_before_run(snapshot, journal, meta)

        def things_before(core: str) -> Container[str]:
            return {record.thing for record in snapshot.associations(core)}

        yield things_before


def _require_before_run(snapshot: Snapshot, journal: Path, meta: Mapping[str, str]) -> None:
    for name in ("account", "region", "endpoint"):
        snapshot_value, run_value = getattr(snapshot.origin, name), meta.get(name, "")
        if snapshot_value and run_value and snapshot_value != run_value:
            raise UsageError(
                f"snapshot {snapshot.path}: it is of {name} {snapshot_value}, the run of {journal} of {run_value};"
                " give one of the same fleet"
            )
    run_started_at, scan_ended_at = float(meta.get("created") or 0), snapshot.ended_at
    if scan_ended_at is None or scan_ended_at > run_started_at:
        raise UsageError(
            f"snapshot {snapshot.path}: it was taken until {format_timestamp(scan_ended_at)}, which is not before the run of {journal}"
            f" began ({format_timestamp(run_started_at)}): what it lacks the run may have removed, what it has may have come back;"
            " give an older one"
        )
