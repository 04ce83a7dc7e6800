"""What a journal records about its run: the proof of its associations, its starts, and its undo."""

# The service may accept the disassociation of a thing that was never associated. "Accepted" alone
# does therefore not prove what a run removed; a listing from before the run does.

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from asyncgg import __version__
from asyncgg.errors import JournalError
from asyncgg.journal import JournalStore
from asyncgg.models import RunState

PROVENANCE_KEY: Final = "provenance"


class ProvenanceKind(StrEnum):
    """The source of the associations of a run. The values are stored in journals."""

    LISTING = "listing"
    """Listed from the service for this run."""
    INVENTORY = "inventory"
    """An existing snapshot."""
    UNDO = "undo"
    """The journal that this run reverts."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Shows the state of the associations when the run started."""

    kind: ProvenanceKind
    path: str
    """Path of the snapshot or journal at that time."""
    taken_at: float | None
    """Seconds since 1970."""


def provenance_to_meta(kind: ProvenanceKind, path: Path | str, taken_at: float | None) -> dict[str, str]:
    """The entry of a journal's meta table; `taken_at` is in seconds since 1970."""
    text = str(path).encode("utf-8", "backslashreplace").decode()  # a file name can be invalid UTF-8
    return {PROVENANCE_KEY: json.dumps({"kind": kind.value, "path": text, "taken_at": taken_at})}


def provenance_from_meta(meta: Mapping[str, str], journal: Path) -> Provenance | None:
    """Parse the entry of the meta table, if any. Raises `JournalError` if it is invalid."""
    text = meta.get(PROVENANCE_KEY)
    if not text:
        return None
    try:
        members = json.loads(text)
        taken_at = members.get("taken_at")
        return Provenance(
            ProvenanceKind(members["kind"]), str(members.get("path", "")), None if taken_at is None else float(taken_at)
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise JournalError(
            f"journal {journal}: the provenance of the associations cannot be read; upgrade asyncgg"
        ) from None


_MAX_STARTS: Final = 200
"""Starts that a journal keeps."""


def record_start(store: JournalStore, mode: str, at: float, arn: str) -> None:
    """Record who starts the run of a journal, and how the start before ended. `at` in seconds since 1970."""
    starts = json.loads(store.get("starts", "[]"))
    if starts:
        state = store.get("state")
        starts[-1]["state"] = RunState.INTERRUPTED.value if state == RunState.RUNNING else state
    elif mode == "resume":
        mode = "run"
    starts.append({"mode": mode, "at": round(at, 3), "version": __version__, "actor": _actor(), "arn": arn})
    store.put(starts=json.dumps(starts[-_MAX_STARTS:]))


def _actor() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
