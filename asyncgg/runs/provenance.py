"""Rule: from where a run knows that its associations were there before it is written and read here; pure but for files.

A service may take a disassociation of what was never associated without a word. So "accepted" alone does not tell what
a run removed; a listing from before it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from asyncgg.errors import JournalError

__all__ = ["Provenance", "ProvenanceKind", "provenance_from_meta", "provenance_to_meta"]

_META_KEY: Final = "provenance"


class ProvenanceKind(StrEnum):
    """Where the associations of a run were read; the values are written into journals."""

    LISTING = "listing"
    """Listed from the service for this run."""
    INVENTORY = "inventory"
    """A snapshot that was there already."""
    UNDO = "undo"
    """The journal that this run takes back."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Provenance:
    """That the associations of a run were as they should be when it began."""

    kind: ProvenanceKind
    path: str
    """Of the snapshot or journal; it may have been moved since."""
    taken_at: float | None
    """Seconds since 1970, UTC."""


def provenance_to_meta(kind: ProvenanceKind, path: Path | str, taken_at: float | None) -> dict[str, str]:
    """The evidence as a fact for a journal's meta table (see `JournalBuilder`); `taken_at` in seconds since 1970."""
    text = str(path).encode("utf-8", "backslashreplace").decode()  # a file's name may be no UTF-8
    return {_META_KEY: json.dumps({"kind": kind.value, "path": text, "taken_at": taken_at})}


def provenance_from_meta(meta: Mapping[str, str], journal: Path) -> Provenance | None:
    """What the meta table of `journal` says of it, None when nothing. Raises `JournalError` when it is unreadable."""
    text = meta.get(_META_KEY)
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
            f"journal {journal}: what it says of where its associations were read cannot be understood; upgrade asyncgg"
        ) from None
