"""Opens the state of a command, and finds the journal that a command continues or reads."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.errors import GuardError, UsageError
from asyncgg.formatting import format_duration, format_timestamp
from asyncgg.models import RunState

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from asyncgg.cli.run_status import RunStatus
    from asyncgg.journal import JournalReader
    from asyncgg.models import Summary
    from asyncgg.run_directory import RunDirectory
    from asyncgg.settings import Settings
    from asyncgg.state import StateDocument, StateSession

_STATE_SETTINGS: Final = (
    "state",
    "state_interval",
    "state_lease",
    "profile",
    "role_arn",
    "external_id",
    "role_session_name",
    "region",
    "endpoint_url",
    "request_timeout",
)


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


@contextmanager
def open_existing_state(context: CommandContext) -> Iterator[StateSession]:
    """As `open_state`. Raises `UsageError` without a state, `JournalError` if it has no run; then it is not created."""
    from asyncgg.cli.supervisor import run_async
    from asyncgg.state import require_saved_run

    if context.settings.state is None:
        raise UsageError("give either JOURNAL or --state; see --help")
    run_async(require_saved_run(context.settings.state, context.connection))
    with open_state(context) as state:
        assert state is not None
        yield state


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
        if self.document is None or self.run is None or self.document.holder is None or self.document.clean:
            return False
        return self.run.name == self.document.runs(with_journal=True)[-1]

    def show(self, summary: Summary) -> Summary:
        """The summary as the user may see it: the local file of a state is temporary."""
        if self.run is None or self.document is None:
            return summary
        from asyncgg.state import show_saved

        state = RunState.RUNNING if self.is_leased else summary.state
        is_newest = self.run.name == self.document.runs(with_journal=True)[-1]
        return replace(show_saved(summary, self.location, self.run, is_newest=is_newest), state=state)

    def read_status(self, reader: JournalReader, **options: Any) -> RunStatus:
        """The status now; that of a copy when it was saved. `options` are those of `read_status`."""
        from asyncgg.cli.run_status import read_status

        if self.document is None:
            return read_status(reader, time.time(), **options)
        status = read_status(reader, self.document.saved_at or time.time(), **options)
        reason = "" if self.is_leased else status.reason
        return replace(status, summary=self.show(status.summary), running=self.is_leased, reason=reason)

    def describe_copy(self, now: float) -> str:
        """How old the copy is at `now`, and who may run its state; empty for a local file."""
        return "" if self.document is None else describe_copy(self.document, now)

    def to_dict(self) -> dict[str, Any]:
        """The members of a JSON object about a copy; none for a local file."""
        return {} if self.document is None else copy_to_dict(self.document)


def describe_copy(document: StateDocument, now: float) -> str:
    """How old the copy of a state is at `now`, and who may run it."""
    holder = "" if document.holder is None else f"; in use by {document.holder.owner}"
    if document.saved_at is None:
        return f"never{holder}"
    return f"{format_duration(max(0.0, now - document.saved_at), whole=True)} ago{holder}"


def copy_to_dict(document: StateDocument) -> dict[str, Any]:
    """The same for a JSON object."""
    holder = document.holder
    return {"saved_at": format_timestamp(document.saved_at) or None, "in_use_by": holder and holder.owner}


@contextmanager
def open_journal(journal: Path | None, location: str | None, run: str | None = None) -> Iterator[OpenedJournal]:
    """The journal to read: `journal`, or a copy of the journal of a run of the state at `location`.

    `run` is a name; by default the newest one. Raises `UsageError` unless one of both is given, and as
    `read_state`.
    """
    if (journal is None) is (location is None):
        raise UsageError("give either JOURNAL or --state; see --help")
    if location is None:
        assert journal is not None
        if run is not None:
            raise UsageError("--run requires --state; see --help")
        yield OpenedJournal(journal)
        return
    from asyncgg.state import read_state
    from asyncgg.transport import ConnectionConfig

    with read_state(location, ConnectionConfig(), run or "") as (document, directory):
        yield OpenedJournal(directory.journal, location, directory, document)


@dataclass(frozen=True, slots=True)
class WorkingJournal:
    """A journal that a command may change, and the state that keeps it."""

    path: Path
    state: StateSession | None = None
    """Held with its lease; None for a local file, and for a copy to read."""
    location: str = ""
    """Of the state; empty for a local file."""

    @property
    def name(self) -> str:
        """The journal for people: the local file of a state is temporary."""
        from asyncgg.state import saved_path

        return saved_path(self.location, self.path) if self.location else str(self.path)

    @property
    def argument(self) -> str:
        """What names the journal in a command line."""
        return f"--state {shlex.quote(self.location)}" if self.location else shlex.quote(str(self.path))


@contextmanager
def open_working_journal(
    journal: Path | None, run: str | None, arguments: Mapping[str, Any], *, read_only: bool = False
) -> Iterator[WorkingJournal]:
    """The journal to work on: `journal`, or that of a run of the state of `arguments` or of the environment.

    `run` is a name; by default the newest one with a journal. The lease of a state is held, unless
    `read_only`. Raises `UsageError` unless one of both is given, and as `StateSession` or `read_state`.
    """
    if journal is not None:
        if arguments["state"] or run is not None:
            raise UsageError("give either JOURNAL or --state; see --help")
        yield WorkingJournal(journal)
        return
    settings = load_state_settings(arguments)
    if settings.state is None:
        raise UsageError("give either JOURNAL or --state; see --help")
    if read_only:
        with open_journal(None, settings.state, run) as opened:
            yield WorkingJournal(opened.path, location=settings.state)
        return
    context = CommandContext.create(settings, arguments)
    with open_existing_state(context) as state:
        runs = state.runs_with_journal()
        yield WorkingJournal(state.open_run(run or runs[-1]).journal, state, state.location)


def load_state_settings(arguments: Mapping[str, Any]) -> Settings:
    """The state of the command line or of the environment; unlike the settings of a run, it is not in its journal."""
    from asyncgg.settings import load_settings

    return load_settings({name: arguments[name] for name in _STATE_SETTINGS})
