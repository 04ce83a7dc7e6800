"""Undoes the run of a journal, which is a file or part of a state, by a new run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncgg.cli.context import CommandContext
from asyncgg.cli.notify import NotifyOnExit, finish_run
from asyncgg.cli.options import extract_settings
from asyncgg.cli.state import OpenedJournal
from asyncgg.cli.supervisor import run_async
from asyncgg.cli.workflow import RunRequest, plan_confirm_run
from asyncgg.errors import UsageError
from asyncgg.journal import JournalReader
from asyncgg.manifest.name_lists import load_selection
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.connection import require_same_region, resolve_saved_endpoint, restore_settings
from asyncgg.runs.undo_plan import (
    NOT_INHERITED,
    mark_undone_by,
    prepare_undo,
    prior_state_from_snapshot,
    write_protect_list,
)
from asyncgg.state import require_no_pending_run, saved_path
from asyncgg.transport import Endpoint


def undo_run(original: OpenedJournal, saved: ExitStack, arguments: Mapping[str, Any]) -> int:
    """Undo the run of `original` and return the exit code; closing `saved` saves its state, if it has one."""
    overrides, state = extract_settings(arguments), original.state
    with JournalReader(original.path) as reader:
        meta = reader.meta()
        require_same_region(meta, overrides)
        settings = restore_settings(reader.settings(), meta, overrides, exclude=NOT_INHERITED)
    context = replace(CommandContext.create(settings, arguments), state=state)
    if original.location and settings.journal is not None:
        raise UsageError("give either --state or --journal: the journal is in the state")
    new_journal = settings.journal
    if state is not None:
        state.require_longer_lease(settings.request_timeout)
        require_no_pending_run(state.location, state.latest(), but=original.path)
        new_journal = state.create_run(prune=False).journal  # the oldest run can be the one to undo
    undo_journal: Path | None = None

    def prepare(endpoint: Endpoint, journal: Path | None) -> tuple[JournalBuilder, Plan]:
        only, assume = arguments["only"], arguments["assume_associated"]
        with prior_state_from_snapshot(
            arguments["inventory"], original.path, meta, assume_associated=assume
        ) as prior_state:
            return prepare_undo(
                original.path,
                journal,
                settings,
                endpoint,
                only=load_selection(only) if only else None,
                prior_state=prior_state,
                assume_associated=assume,
                state_location=original.location,
            )

    def mark() -> str:
        assert undo_journal is not None
        name = saved_path(original.location, undo_journal) if original.location else ""
        return run_async(mark_undone_by(undo_journal, original.path, name))

    def before_start(builder: JournalBuilder, endpoint: Endpoint) -> None:
        nonlocal undo_journal
        undo_journal = builder.path
        if warning := mark():  # before the first request: a killed undo leaves its mark, too
            context.console.log_event({"event": "warning", "warning": warning}, f"warning: {warning}")
        if policy := meta.get("policy_name"):
            path = write_protect_list(builder.path)
            shown = saved_path(original.location, path) if original.location else str(path)
            event = {"event": "protect-list", "policy": policy, "path": shown}
            text = f"policy {policy} selects these things again; add their list to `protect` in its [guards]: {shown}"
            context.console.log_event(event, text)

    request = RunRequest(
        before_start=before_start,
        resolve_endpoint=lambda: resolve_saved_endpoint(settings, meta, overrides),
        prepare=prepare,
        journal=new_journal,
        yes=arguments["yes"],
        dry_run=arguments["dry_run"],
        stdin_in_use=arguments["only"] == "-",
        recorded_account=meta.get("account", ""),
    )
    with NotifyOnExit(arguments["notify"], context) as notifier:
        outcome = plan_confirm_run(request, context)
        if outcome is None:
            return 0
        mark()  # with the counts of the end
        assert undo_journal is not None
        return finish_run(outcome, undo_journal, saved, context, notifier)
