"""Rule: the list of what a verification found otherwise than its journal says; `core,thing` first: it is a manifest."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text
from asyncgg.formatting import format_timestamp

__all__ = ["MISMATCH_COLUMNS", "require_csv_suffix", "write_mismatches"]

MISMATCH_COLUMNS: Final = ("core", "thing", "result", "associated_at")


def require_csv_suffix(path: Path) -> None:
    """Raise `UsageError` unless the name ends in .csv or .csv.gz."""
    if not path.name.lower().removesuffix(".gz").endswith(".csv"):
        raise UsageError(f"{path}: the list is a CSV: name it .csv (also .gz)")


def write_mismatches(path: Path, rows: Iterable[tuple[str, str, str, float | None]], journal: Path) -> int:
    """Write (core, thing, found, associated at) to `path`; how many there were. Raises `UsageError`."""
    count = 0
    with atomic_write_text(path, journal) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MISMATCH_COLUMNS)
        for core, thing, result, associated_at in rows:
            writer.writerow((core, thing, result, format_timestamp(associated_at)))
            count += 1
    return count
