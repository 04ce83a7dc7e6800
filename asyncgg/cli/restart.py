"""Rule: what `resume` and `retry` share: a journal goes on with its own settings, in the account, the Region and at the
endpoint it was begun with; only an option of this command changes that, never the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncgg.cli import confirm
from asyncgg.cli.options import given_settings
from asyncgg.cli.output import Output
from asyncgg.cli.running import finish, run_journal, run_loop
from asyncgg.cli.signals import interrupting
from asyncgg.cli.telling import Telling
from asyncgg.errors import JournalError
from asyncgg.journal import JournalReader, JournalWriter
from asyncgg.model import RunState, Summary
from asyncgg.report import EXIT_CODES, format_summary, summary_to_dict
from asyncgg.report.summary import format_duration, next_commands
from asyncgg.runs import RunMode, quota_rate, seconds_at_quota, verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.plan import quota_burst
from asyncgg.runs.stored import resolve_saved_endpoint, restore_settings
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

__all__ = ["restart"]


def restart(path: Path, mode: RunMode, given: Mapping[str, Any]) -> int:
    """Go on with the journal at `path`; the exit code."""
    with interrupting():
        with JournalReader(path) as reader:
            meta, summary, busy = reader.meta(), reader.summary(), reader.is_running()
            things, requests = reader.remaining(failed=mode is RunMode.RETRY)
            settings = restore_settings(reader.settings(), meta, given_settings(given))
        output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
        with Telling(given["notify"], settings, output) as telling:
            if busy:
                raise JournalError(
                    f"journal {path}: another process is running it; wait for it or stop it"
                    " (status and report work meanwhile)"
                )
            if not things:
                return _nothing_to_do(path, mode, summary, output)
            target, account = _consented(mode, settings, output, meta, given, summary, things, requests)
            ended = run_journal(path, settings, output, mode=mode, region=target.region, account=account)
            return finish(output, *telling.ended(*ended))


def _consented(
    mode: RunMode,
    settings: Settings,
    output: Output,
    meta: Mapping[str, str],
    given: Mapping[str, Any],
    summary: Summary,
    things: int,
    requests: int,
) -> tuple[Endpoint, CallerIdentity | None]:
    """Where to go and as whom, once the person has seen it and agreed."""
    if not given["yes"]:
        confirm.must_be_able_to_ask(stdin_is_taken=False)
    target = resolve_saved_endpoint(settings, meta, given_settings(given))
    recorded = meta.get("account", "")
    account, unknown = run_loop(
        verify_account(connection_from_settings(settings), target, settings, expected_from_journal=recorded)
    )
    if not (output.quiet and given["yes"]):
        said = f"{account.account} ({account.arn})" if account else f"unknown: {unknown}"
        event = {"event": mode.value, "run": summary.run, "things": things, "requests": requests}
        output.tell(event, *_lines(summary, mode, things, requests, settings, target, said))
    if not given["yes"]:
        confirm.ask(output, things, f"{mode.value} them", stdin_is_taken=False)
    return target, account


def _lines(
    summary: Summary, mode: RunMode, things: int, requests: int, settings: Settings, target: Endpoint, account: str
) -> list[str]:
    rate = quota_rate(settings, target.region)
    seconds = seconds_at_quota(requests, rate, quota_burst(settings, rate))
    where = f"endpoint   {target.url} (custom)" if target.custom else f"region     {target.region}"
    what = "failed" if mode is RunMode.RETRY else "pending"
    return [
        f"{mode.value}: {summary.operation} the {things:,} {what} of {summary.total:,} things of run {summary.run}",
        f"  account    {account}",
        f"  {where}",
        f"  requests   {requests:,}",
        f"  time       {format_duration(seconds)} at {rate:g} requests/s",
    ]


def _nothing_to_do(path: Path, mode: RunMode, summary: Summary, output: Output) -> int:
    if mode is RunMode.RETRY:
        words = "nothing failed"
    else:
        words, summary = "nothing is pending", _concluded(path, summary)
    output.say(f"{words}, so there is nothing to {mode.value}")
    code = EXIT_CODES[summary.state]
    lines = format_summary(summary)
    if commands := next_commands(summary):
        lines += ["next:", *(f"  {command}" for command in commands)]
    output.result(summary_to_dict(summary, exit_code=code), lines)
    return code


def _concluded(path: Path, summary: Summary) -> Summary:
    """A run that was killed after its last outcome is over; say so in its journal too."""
    state = RunState.PARTIAL if summary.failed else RunState.COMPLETE
    if summary.state is state:
        return summary

    async def conclude() -> None:
        journal = JournalWriter(path)
        try:
            await journal.submit(lambda store: store.put(state=state, reason=""))
        finally:
            journal.close()

    run_loop(conclude())
    return replace(summary, state=state)
