"""Rule: the proof that a verification left beside a journal is found and believed, or not, here.

It is believed while it is of this run and its looking began after the run's last request: of what was sent since it
knows nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["format_verification_record", "load_verification_record", "verification_record_path"]

_SCHEMA = "asyncgg.verify/1"


def verification_record_path(journal: Path) -> Path:
    """Where the proof of a verification is kept: beside the journal."""
    return journal.with_name(f"{journal.name}.verified.json")


def load_verification_record(journal: Path, run: str, last_request_at: float | None) -> dict[str, Any] | None:
    """The proof for `run` of `journal`; None when there is none that may be believed.

    `last_request_at` is when the run sent or was answered last, in seconds since 1970; None when it never sent any.
    """
    try:
        document = json.loads(verification_record_path(journal).read_text(encoding="utf-8"))
        started_at = datetime.fromisoformat(document["started_at"]).timestamp()
        valid = (
            document["schema"] == _SCHEMA
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
    """The proof in a few words."""
    things = record["things"]
    parts = [f"{things['confirmed']:,} of {things['checked']:,} as the journal says"]
    parts += [
        f"{things[key]:,} {name}"
        for key, name in (("still_associated", "not"), ("unchecked", "not seen"))
        if things[key]
    ]
    actor = f" by {record['arn']}" if record.get("arn") else ""
    return f"{record['finished_at']}{actor}: {', '.join(parts)}"
