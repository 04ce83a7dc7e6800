"""Rule: what `resume` and `retry` share: a journal goes on with its own settings, in the account, the Region and at the
endpoint it was begun with; only an option of this command changes that, never the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncgg.cli import confirm
from asyncgg.cli.console import Console
from asyncgg.cli.notify import NotifyOnExit
from asyncgg.cli.options import extract_settings
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import run_async, run_journal, write_summary
from asyncgg.errors import JournalError
from asyncgg.formatting import format_duration
from asyncgg.journal import JournalReader, JournalWriter
from asyncgg.models import RunState, Summary
from asyncgg.report import EXIT_CODES, format_summary, summary_to_dict
from asyncgg.report.summary import next_commands
from asyncgg.runs import RunMode, quota_rate, seconds_at_quota, verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.plan import quota_burst
from asyncgg.runs.saved_settings import resolve_saved_endpoint, restore_settings
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

__all__ = ["restart_run"]


def restart_run(path: Path, mode: RunMode, arguments: Mapping[str, Any]) -> int:
    """Go on with the journal at `path`; the exit code."""
    with raise_on_signal():
        with JournalReader(path) as reader:
            meta, summary, is_running = reader.meta(), reader.summary(), reader.is_running()
            things, requests = reader.remaining(failed=mode is RunMode.RETRY)
            settings = restore_settings(reader.settings(), meta, extract_settings(arguments))
        console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
        with NotifyOnExit(arguments["notify"], settings, console) as notifier:
            if is_running:
                raise JournalError(
                    f"{path} is in use by another process; wait until it exits, or stop it"
                    " (status and report work meanwhile)"
                )
            if not things:
                return _nothing_to_do(path, mode, summary, console)
            endpoint, account = _confirm(mode, settings, console, meta, arguments, summary, things, requests)
            outcome = run_journal(path, settings, console, mode=mode, region=endpoint.region, account=account)
            return write_summary(console, *notifier.record_result(*outcome))


def _confirm(
    mode: RunMode,
    settings: Settings,
    console: Console,
    meta: Mapping[str, str],
    arguments: Mapping[str, Any],
    summary: Summary,
    things: int,
    requests: int,
) -> tuple[Endpoint, CallerIdentity | None]:
    """Where to go and as whom, once the person has seen it and agreed."""
    if not arguments["yes"]:
        confirm.require_terminal(stdin_in_use=False)
    endpoint = resolve_saved_endpoint(settings, meta, extract_settings(arguments))
    recorded_account = meta.get("account", "")
    account, unknown_reason = run_async(
        verify_account(connection_from_settings(settings), endpoint, settings, expected_from_journal=recorded_account)
    )
    if not (console.quiet and arguments["yes"]):
        account_label = f"{account.account} ({account.arn})" if account else f"unknown: {unknown_reason}"
        event = {"event": mode.value, "run": summary.run, "things": things, "requests": requests}
        console.log_event(event, *_format_restart(summary, mode, things, requests, settings, endpoint, account_label))
    if not arguments["yes"]:
        confirm.confirm_count(console, things, f"{mode.value} them", stdin_in_use=False)
    return endpoint, account


def _format_restart(
    summary: Summary, mode: RunMode, things: int, requests: int, settings: Settings, endpoint: Endpoint, account: str
) -> list[str]:
    rate = quota_rate(settings, endpoint.region)
    seconds = seconds_at_quota(requests, rate, quota_burst(settings, rate))
    endpoint_line = f"endpoint   {endpoint.url} (custom)" if endpoint.custom else f"region     {endpoint.region}"
    status = "failed" if mode is RunMode.RETRY else "pending"
    return [
        f"{mode.value}: {summary.operation} the {things:,} {status} of {summary.total:,} things of run {summary.run}",
        f"  account    {account}",
        f"  {endpoint_line}",
        f"  requests   {requests:,}",
        f"  time       {format_duration(seconds)} at {rate:g} requests/s",
    ]


def _nothing_to_do(path: Path, mode: RunMode, summary: Summary, console: Console) -> int:
    if mode is RunMode.RETRY:
        message = "nothing failed"
    else:
        message, summary = "nothing is pending", _mark_complete(path, summary)
    console.print(f"{message}, so there is nothing to {mode.value}")
    code = EXIT_CODES[summary.state]
    lines = format_summary(summary)
    if commands := next_commands(summary):
        lines += ["next:", *(f"  {command}" for command in commands)]
    console.write_result(summary_to_dict(summary, exit_code=code), lines)
    return code


def _mark_complete(path: Path, summary: Summary) -> Summary:
    """A run that was killed after its last outcome is over; say so in its journal too."""
    state = RunState.PARTIAL if summary.failed else RunState.COMPLETE
    if summary.state is state:
        return summary

    async def write_state() -> None:
        writer = JournalWriter(path)
        try:
            await writer.submit(lambda store: store.put(state=state, reason=""))
        finally:
            writer.close()

    run_async(write_state())
    return replace(summary, state=state)
