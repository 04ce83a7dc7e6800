"""The marks that an undo leaves in the journal of the run that it reverts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import JournalError
from asyncgg.formatting import format_timestamp
from asyncgg.journal import JournalReader, write_meta

_META_KEY: Final = "undone"


@dataclass(frozen=True, slots=True)
class UndoMark:
    """An undo of a run."""

    journal: str
    """The path of the journal of the undo."""
    started_at: float
    """Seconds since 1970."""
    reverted: int
    """Things that are back in the state before the run, as far as known now."""
    total: int
    """Things that the undo was to revert."""

    def __str__(self) -> str:
        counts = f"{self.reverted:,} of {self.total:,} things"
        return f"{format_timestamp(self.started_at)} by {self.journal}, {counts}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return asdict(self) | {"started_at": format_timestamp(self.started_at)}


async def mark_undone(journal: Path, mark: UndoMark) -> None:
    """Record an undo in the journal of the run; raises as `write_meta` if it cannot be written."""
    with JournalReader(journal) as reader:
        marks = [item for item in _load(reader.meta()) if item["journal"] != mark.journal]
    await write_meta(journal, **{_META_KEY: json.dumps([*marks, asdict(mark)])})


def read_undo_marks(reader: JournalReader) -> list[UndoMark]:
    """The undos of a run, with the present counts of those whose journal can be read."""
    marks = []
    for values in _load(reader.meta()):
        reverted, total = int(values["reverted"]), int(values["total"])
        recorded = Path(values["journal"])
        for path in (recorded, reader.path.with_name(recorded.name)):  # moved together with the run
            if path == reader.path:  # the undo is in a state: all journals have the same name there
                continue
            try:
                with JournalReader(path) as undo:
                    summary = undo.summary()
            except JournalError:
                continue
            reverted, total = summary.disassociated + summary.already, summary.total
            break
        if reverted:  # else it did not start, or has changed nothing yet
            marks.append(UndoMark(values["journal"], float(values["started_at"]), reverted, total))
    return marks


def _load(meta: Mapping[str, str]) -> list[dict[str, Any]]:
    try:
        marks = json.loads(meta.get(_META_KEY, "[]"))
    except ValueError:
        return []
    return [mark for mark in marks if isinstance(mark, dict) and mark.keys() >= {"journal", "started_at"}]
