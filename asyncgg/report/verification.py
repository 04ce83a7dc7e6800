"""Reads the record of a verification and writes the list of its mismatches."""

# Separate from asyncgg.runs, because `report` must not load the transports to show a record.

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.files import atomic_write_text
from asyncgg.formatting import format_timestamp

SCHEMA: Final = "asyncgg.verify/1"

MISMATCH_COLUMNS: Final = ("core", "thing", "result", "associated_at")
"""`core` and `thing` come first, so that the list is also a manifest."""


def verification_record_path(journal: Path) -> Path:
    """Get the path of the verification record next to the journal."""
    return journal.with_name(f"{journal.name}.verified.json")


def load_verification_record(journal: Path, run: str, last_request_at: float | None) -> dict[str, Any] | None:
    """Load the record of `run` if it is valid and started after the last request of the run.

    `last_request_at` is in seconds since 1970; None if the run sent no request.
    """
    try:
        document = json.loads(verification_record_path(journal).read_text(encoding="utf-8"))
        started_at = datetime.fromisoformat(document["started_at"]).timestamp()
        valid = (
            document["schema"] == SCHEMA
            and document["run"] == run
            and isinstance(document["finished_at"], str)
            and all(
                isinstance(document["things"][key], int)
                for key in ("checked", "confirmed", "still_associated", "unchecked")
            )
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return document if valid and (last_request_at is None or started_at >= last_request_at) else None


def format_verification_record(record: Mapping[str, Any]) -> str:
    """Format a record as one line."""
    things = record["things"]
    parts = [f"{things['confirmed']:,} of {things['checked']:,} confirmed"]
    labels = {"still_associated": "still associated", "unchecked": "not checked"}
    if record.get("operation") == "associate":
        labels["still_associated"] = "missing"
    parts += [f"{things[key]:,} {label}" for key, label in labels.items() if things[key]]
    actor = f" by {record['arn']}" if record.get("arn") else ""
    return f"{record['finished_at']}{actor}: {', '.join(parts)}"


def require_csv_suffix(path: Path) -> None:
    """Raise `UsageError` unless the name ends in .csv or .csv.gz."""
    if not path.name.lower().removesuffix(".gz").endswith(".csv"):
        raise UsageError(f"{path}: the list is a CSV file; use the suffix .csv or .csv.gz")


def write_mismatches(path: Path, rows: Iterable[tuple[str, str, str, float | None]], journal: Path) -> int:
    """Write rows of `MISMATCH_COLUMNS`; returns their number. Raises `UsageError`."""
    count = 0
    with atomic_write_text(path, journal) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MISMATCH_COLUMNS)
        for core, thing, result, associated_at in rows:
            writer.writerow((core, thing, result, format_timestamp(associated_at)))
            count += 1
    return count
