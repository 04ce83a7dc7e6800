"""Continues runs from their journals, which are files or part of a state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asyncgg.cli.console import require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.notify import NotifyOnExit, finish_run
from asyncgg.cli.options import extract_settings
from asyncgg.cli.plan_view import format_plan_time
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.state import load_state_settings, open_existing_state
from asyncgg.cli.supervisor import run_async, run_journal
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, JournalError, UsageError
from asyncgg.journal import JournalReader, JournalWriter, write_meta
from asyncgg.models import RunState, Summary
from asyncgg.report import EXIT_CODES, format_summary, summary_to_dict
from asyncgg.report.summary import format_next_commands
from asyncgg.runs import RunMode, quota_rate, seconds_at_quota, verify_account
from asyncgg.runs.connection import resolve_saved_endpoint, restore_settings
from asyncgg.runs.plan import quota_burst
from asyncgg.runs.undo_plan import mark_undone_by
from asyncgg.state import saved_path
from asyncgg.transport import Endpoint

if TYPE_CHECKING:
    from asyncgg.state import StateSession


@dataclass(frozen=True, slots=True)
class Restart:
    """A run to continue, as its journal has it.

    Settings, account, Region and endpoint are those of the run; options of this command override
    them, the environment does not.
    """

    path: Path
    mode: RunMode
    overrides: Mapping[str, Any]
    context: CommandContext
    meta: Mapping[str, str]
    summary: Summary
    things: int
    """Things to send."""
    requests: int
    is_running: bool

    @classmethod
    def load(cls, path: Path, mode: RunMode, arguments: Mapping[str, Any], state: StateSession | None = None) -> Self:
        """Read the journal at `path`, which is part of `state` if that is given. Raises `JournalError`."""
        overrides = extract_settings(arguments)
        with JournalReader(path) as reader:
            meta = reader.meta()
            context = CommandContext.create(restore_settings(reader.settings(), meta, overrides), arguments)
            context = replace(context, state=state)
            things, requests = reader.remaining(failed=mode is RunMode.RETRY)
            return cls(path, mode, overrides, context, meta, reader.summary(), things, requests, reader.is_running())

    def run(self, *, yes: bool) -> tuple[RunResult, Summary]:
        """Check the account, ask unless `yes`, and run. Raises an `AsyncggError` or KeyboardInterrupt."""
        context, mode = self.context, self.mode
        if not yes:
            require_terminal(stdin_in_use=False)
        if context.state is not None:
            context.state.require_longer_lease(context.settings.request_timeout)
        JournalWriter(self.path, threaded=False).close()  # raises before any request if it is not writable
        endpoint = resolve_saved_endpoint(context.settings, self.meta, self.overrides)
        account, unknown_reason = run_async(
            verify_account(endpoint, context.settings, expected_from_journal=self.meta.get("account", ""))
        )
        console = context.console
        if not (console.quiet and yes):
            label = f"{account.account} ({account.arn})" if account else f"unknown ({unknown_reason})"
            event = {"event": mode.value, "run": self.summary.run, "things": self.things, "requests": self.requests}
            console.log_event(event, *self._format(endpoint, label))
        if not yes:
            console.confirm_count(self.things, f"{mode.value} them", stdin_in_use=False)
        return run_journal(self.path, context, mode=mode, region=endpoint.region, account=account)

    def _format(self, endpoint: Endpoint, account: str) -> list[str]:
        settings, summary, requests = self.context.settings, self.summary, self.requests
        rate = quota_rate(settings, endpoint.region)
        seconds = seconds_at_quota(requests, rate, quota_burst(settings, rate))
        endpoint_line = (
            f"endpoint   {endpoint.url} (custom endpoint)" if endpoint.custom else f"region     {endpoint.region}"
        )
        status = "failed" if self.mode is RunMode.RETRY else "pending"
        amount = f"the {self.things:,} {status} of {summary.total:,}"
        return [
            f"{self.mode.value}: {summary.operation} {amount} things of run {summary.run}",
            f"  account    {account}",
            f"  {endpoint_line}",
            f"  requests   {requests:,}",
            format_plan_time(seconds, rate),
        ]


def restart_run(path: Path | None, mode: RunMode, arguments: Mapping[str, Any]) -> int:
    """Continue the run of the journal at `path`, or the newest one of a state, and return the exit code."""
    with raise_on_signal(), ExitStack() as saved:
        state = None
        if path is None:
            settings = load_state_settings(arguments)
            state = saved.enter_context(open_existing_state(CommandContext.create(settings, arguments)))
            latest = state.latest()
            if latest is None or not latest.has_journal:
                raise JournalError(f"{state.location}: the state has no run to continue; check the location")
            path = latest.journal
        elif arguments["state"]:
            raise UsageError("give either JOURNAL or --state; see --help")
        restart = Restart.load(path, mode, arguments, state)
        with NotifyOnExit(arguments["notify"], restart.context) as notifier:
            if restart.is_running:
                raise JournalError(
                    f"{path} is in use by another process; wait until that run has ended, or stop it"
                    " (status and report work meanwhile)"
                )
            if not restart.things:
                return _nothing_to_do(restart, saved)
            outcome = restart.run(yes=arguments["yes"])
            if state is not None:
                _update_undo_mark(state, restart)
            return finish_run(outcome, path, saved, restart.context, notifier)


def _update_undo_mark(state: StateSession, restart: Restart) -> None:
    """Count in the run that an undo reverts what the undo has done now."""
    original = json.loads(restart.meta.get("undo_of", "{}")).get("state_run")
    if original is None:
        return
    with suppress(AsyncggError):  # that run can be deleted
        name = saved_path(state.location, restart.path)
        run_async(mark_undone_by(restart.path, state.open_run(original).journal, name))


def _nothing_to_do(restart: Restart, saved: ExitStack) -> int:
    context, summary = restart.context, restart.summary
    if restart.mode is RunMode.RETRY:
        message = "no failed things to retry"
    else:
        message, summary = "no pending things to resume", _mark_complete(restart.path, summary)
    summary = context.show_saved(summary)
    saved.close()
    context.console.print(message)
    code = EXIT_CODES[summary.state]
    lines = format_summary(summary) + format_next_commands(summary, code)
    context.console.write_result(summary_to_dict(summary, exit_code=code), lines)
    return code


def _mark_complete(path: Path, summary: Summary) -> Summary:
    """The summary with its final state, which a run killed after its last outcome lacks."""
    state = RunState.PARTIAL if summary.failed else RunState.COMPLETE
    if summary.state is state:
        return summary

    run_async(write_meta(path, state=state, reason=""))
    return replace(summary, state=state)
