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

__all__ = ["proof_line", "proof_of", "proof_path"]

_SCHEMA = "asyncgg.verify/1"


def proof_path(journal: Path) -> Path:
    """Where the proof of a verification is kept: beside the journal."""
    return journal.with_name(f"{journal.name}.verified.json")


def proof_of(journal: Path, run: str, last_request: float | None) -> dict[str, Any] | None:
    """The proof for `run` of `journal`; None when there is none that may be believed.

    `last_request` is when the run sent or was answered last, in seconds since 1970; None when it never sent any.
    """
    try:
        document = json.loads(proof_path(journal).read_text(encoding="utf-8"))
        begun = datetime.fromisoformat(document["begun"]).timestamp()
        sound = (
            document["schema"] == _SCHEMA
            and document["run"] == run
            and isinstance(document["at"], str)
            and all(isinstance(document["things"][key], int) for key in ("checked", "so", "left", "unseen"))
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return document if sound and (last_request is None or begun >= last_request) else None


def proof_line(proof: Mapping[str, Any]) -> str:
    """The proof in a few words."""
    things = proof["things"]
    words = [f"{things['so']:,} of {things['checked']:,} as the journal says"]
    words += [f"{things[key]:,} {name}" for key, name in (("left", "not"), ("unseen", "not seen")) if things[key]]
    who = f" by {proof['arn']}" if proof.get("arn") else ""
    return f"{proof['at']}{who}: {', '.join(words)}"
