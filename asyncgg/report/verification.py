"""Reads the record of a verification; the columns of the list of its mismatches."""

# Separate from asyncgg.runs, because `report` must not load the transports to show a record.

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.formatting import format_counts
from asyncgg.tables import Column

SCHEMA: Final = "asyncgg.verify/1"

MISMATCH_COLUMNS: Final = {
    "core": Column.NAME,
    "thing": Column.NAME,
    "result": Column.NAME,
    "associated_at": Column.TIME,
}
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
    parts += format_counts(*((things[key], label) for key, label in labels.items()))
    actor = f" by {record['arn']}" if record.get("arn") else ""
    return f"{record['finished_at']}{actor}: {', '.join(parts)}"


def require_csv_suffix(path: Path) -> None:
    """Raise `UsageError` unless the name ends in .csv or .csv.gz."""
    if not path.name.lower().removesuffix(".gz").endswith(".csv"):
        raise UsageError(f"{path}: the list is a CSV file; use the suffix .csv or .csv.gz")
