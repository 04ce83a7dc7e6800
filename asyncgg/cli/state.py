"""Opens the state of a command, and finds the journal that a command continues or reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asyncgg.cli.context import CommandContext
from asyncgg.errors import GuardError, UsageError
from asyncgg.models import RunState

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from asyncgg.models import Summary
    from asyncgg.run_directory import RunDirectory
    from asyncgg.state import StateDocument, StateSession


def open_state(context: CommandContext, keep_runs: int = 30) -> AbstractContextManager[StateSession | None]:
    """The state of the settings, if any, with `keep_runs` runs; entering and leaving as `StateSession`.

    Raises `SettingsError` if the lease is too short.
    """
    settings = context.settings
    if settings.state is None:
        return nullcontext()
    from asyncgg.state import StateSession, lease_seconds

    def show(line: str) -> None:
        context.console.log_event({"event": "state", "message": line}, line)

    return StateSession(
        settings.state,
        context.connection,
        lease_seconds=lease_seconds(settings.state_lease, settings.request_timeout),
        interval=settings.state_interval,
        keep_runs=keep_runs,
        on_message=show,
    )


def find_unfinished(state: StateSession, source: str) -> RunDirectory | None:
    """The newest run of the state if it has pending things.

    Raises `GuardError` if it is of another `source` (a manifest or list) than this start.
    """
    from asyncgg.journal import JournalReader

    run = state.latest()
    if run is None or not run.has_journal:
        return None
    with JournalReader(run.journal) as reader:
        pending, meta = reader.counts().pending, reader.meta()
    if not pending:
        return None
    recorded = meta.get("lookup") or meta.get("source", "")
    if recorded != source.encode("utf-8", "backslashreplace").decode():  # as a journal has it
        raise GuardError(
            f"{state.location}: the run of {recorded} has {pending:,} pending things; complete it with `asyncgg resume"
            f" --state {state.location}`, or use another state for {source}; nothing was sent"
        )
    return run


def show_saved(summary: Summary, location: str, run: RunDirectory) -> Summary:
    """The summary of a run in a state: its local file is temporary."""
    return replace(summary, journal=f"{location}: {run.name}/{run.journal.name}", state_location=location)


@dataclass(frozen=True, slots=True)
class OpenedJournal:
    """A journal to read, and where it comes from."""

    path: Path
    location: str = ""
    run: RunDirectory | None = None
    document: StateDocument | None = None

    @property
    def is_leased(self) -> bool:
        """Whether a process runs the state, or was killed a short time ago."""
        return self.document is not None and self.document.holder is not None and not self.document.clean

    def show(self, summary: Summary) -> Summary:
        """The summary as the user may see it: the local file of a state is temporary."""
        if self.run is None:
            return summary
        state = RunState.RUNNING if self.is_leased else summary.state
        return replace(show_saved(summary, self.location, self.run), state=state)


@contextmanager
def open_journal(journal: Path | None, location: str | None) -> Iterator[OpenedJournal]:
    """The journal to read: `journal`, or a copy of the newest one of the state at `location`.

    Raises `UsageError` unless one of both is given, and as `read_state`.
    """
    if (journal is None) is (location is None):
        raise UsageError("give either JOURNAL or --state; see --help")
    if location is None:
        assert journal is not None
        yield OpenedJournal(journal)
        return
    from asyncgg.state import read_state
    from asyncgg.transport import ConnectionConfig

    with read_state(location, ConnectionConfig()) as (document, run):
        yield OpenedJournal(run.journal, location, run, document)
