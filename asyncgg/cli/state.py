"""Opens the state of a command, and finds the journal that a command continues or reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import STATE_CONNECTION
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
    from asyncgg.transport import ConnectionConfig

_STATE_SETTINGS: Final = (
    *("state", "state_interval", "state_lease", "request_timeout"),
    *(option.name or "" for option in STATE_CONNECTION),
)
_ONE_JOURNAL: Final = "give either JOURNAL or --state; see --help"


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
        raise UsageError(_ONE_JOURNAL)
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
    """The journal of a run, and where it comes from."""

    path: Path
    location: str = ""
    """Of the state; empty for a local file."""
    state: StateSession | None = None
    """Held with its lease; None for a local file, and for a copy to read."""
    run: RunDirectory | None = None
    document: StateDocument | None = None
    """Of the state that a copy is from."""

    @property
    def name(self) -> str:
        """The journal for people: the local file of a state is temporary."""
        from asyncgg.state import saved_path

        return saved_path(self.location, self.path) if self.location else str(self.path)

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
def open_journal(
    journal: Path | None, run: str | None, arguments: Mapping[str, Any], *, lease: bool = False
) -> Iterator[OpenedJournal]:
    """The journal `journal`, or that of a run of the state of `arguments` or of the environment.

    `run` is a name; by default the newest one with a journal. With `lease` a state is held and can be changed,
    otherwise the journal is a copy. Raises `UsageError` unless one of both is given, and as `StateSession` or
    `read_state`.
    """
    if journal is not None:
        if arguments["state"]:
            raise UsageError(_ONE_JOURNAL)
        if run is not None:
            raise UsageError("--run requires --state; see --help")
        yield OpenedJournal(journal)
        return
    settings = load_state_settings(arguments)
    if settings.state is None:
        raise UsageError(_ONE_JOURNAL)
    if lease:
        with open_existing_state(CommandContext.create(settings, arguments)) as state:
            path = state.open_run(run or state.runs_with_journal()[-1]).journal
            yield OpenedJournal(path, state.location, state)
        return
    from asyncgg.state import read_state

    with read_state(settings.state, state_connection(arguments), run or "") as (document, directory):
        yield OpenedJournal(directory.journal, settings.state, run=directory, document=document)


def load_state_settings(arguments: Mapping[str, Any]) -> Settings:
    """The state of the command line or of the environment; unlike the settings of a run, it is not in its journal."""
    from asyncgg.settings import load_settings

    return load_settings({name: arguments.get(name) for name in _STATE_SETTINGS})


def state_connection(arguments: Mapping[str, Any]) -> ConnectionConfig:
    """How a state is reached, by the command line or the environment."""
    from asyncgg.runs.connection import connection_from_settings

    return connection_from_settings(load_state_settings(arguments))
