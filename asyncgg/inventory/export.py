"""Export the associations of a snapshot as CSV, JSONL or Parquet, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from asyncgg.inventory.snapshot import Snapshot
from asyncgg.tables import Column, write_table

COLUMNS: Final = {
    "core": Column.NAME,
    "thing": Column.NAME,
    "associated_at": Column.TIME,
    "core_status": Column.NAME,
    "core_last_status_at": Column.TIME,
}
"""`core` and `thing` come first, so that an export is a manifest."""


def export(snapshot: Snapshot, path: Path) -> int:
    """Write the associations to `path`, in the format of its suffix; returns their number.

    Raises `UsageError` when that fails; `path` is then unchanged.
    """
    return write_table(path, COLUMNS, _rows(snapshot), snapshot.path, "snapshot")


def _rows(snapshot: Snapshot) -> Iterator[tuple[str, str, float | None, str, float | None]]:
    cores = {core.device.name: core.device for core in snapshot.cores()}
    for name, thing, at in snapshot.associations():
        core = cores[name]
        yield name, thing, at, core.status, core.last_status_at
