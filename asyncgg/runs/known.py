"""Rule: whether a snapshot may speak for how things were before a run, and what it says, is decided here."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from asyncgg.errors import UsageError
from asyncgg.inventory import Snapshot
from asyncgg.manifest.writing import timestamp
from asyncgg.runs.undoing import KnownBefore

__all__ = ["known_before"]


@contextlib.contextmanager
def known_before(inventory: Path | None, journal: Path, meta: Mapping[str, str]) -> Iterator[KnownBefore | None]:
    """What the snapshot `inventory` holds, for as long as the block runs; None without one.

    `meta` is that of `journal`. Raises `SnapshotError` when it is no finished snapshot, `UsageError` when it is of
    another account, Region or endpoint, or not from before the run.
    """
    if inventory is None:
        yield None
        return
    with Snapshot(inventory) as snapshot:
        snapshot.require_finished()
        _check(snapshot, journal, meta)

        def known(core: str) -> Container[str]:
            return {found.thing for found in snapshot.associations(core)}

        yield known


def _check(snapshot: Snapshot, journal: Path, meta: Mapping[str, str]) -> None:
    for name in ("account", "region", "endpoint"):
        theirs, ours = getattr(snapshot.origin, name), meta.get(name, "")
        if theirs and ours and theirs != ours:
            raise UsageError(
                f"snapshot {snapshot.path}: it is of {name} {theirs}, the run of {journal} of {ours};"
                " give one of the same fleet"
            )
    began, ended = float(meta.get("created") or 0), snapshot.ended_at
    if ended is None or ended > began:
        raise UsageError(
            f"snapshot {snapshot.path}: it was taken until {timestamp(ended)}, which is not before the run of {journal}"
            f" began ({timestamp(began)}): what it lacks the run may have removed, what it has may have come back;"
            " give an older one"
        )
