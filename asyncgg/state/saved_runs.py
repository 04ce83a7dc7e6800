"""The runs of a state as users see them: their files are temporary, and only the newest run continues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from asyncgg.errors import UnfinishedRunError
from asyncgg.journal import JournalReader
from asyncgg.models import Summary
from asyncgg.run_directory import RunDirectory


def saved_path(location: str, path: Path) -> str:
    """How a file of a run in the state at `location` is named, instead of its temporary path."""
    return f"{location}: {path.parent.name}/{path.name}"


def show_saved(summary: Summary, location: str, run: RunDirectory, *, is_newest: bool = True) -> Summary:
    """The summary of a run in a state: its local file is temporary."""
    return replace(
        summary,
        journal=saved_path(location, run.journal),
        state_location=location,
        state_run="" if is_newest else run.name,
    )


def require_no_pending_run(location: str, newest: RunDirectory | None, but: Path | None = None) -> None:
    """Raise `UnfinishedRunError` if the newest run has pending things and another journal than `but`.

    A start continues only the newest run, so a new one would leave them pending.
    """
    if newest is None or not newest.has_journal or newest.journal == but:
        return
    with JournalReader(newest.journal) as reader:
        pending = reader.counts().pending
    if pending:
        raise UnfinishedRunError(
            f"{location}: run {newest.name} has {pending:,} pending things; complete it first with `asyncgg resume"
            f" --state {location}`; nothing was sent"
        )
