"""Rule: one start of a policy as the command line does it lives here: lists, account, signals, display, who is told."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cleanup import Disposition, Policy, check_policy
from asyncgg.cleanup.context import effective_settings, load_keep_lists, merge_limits, policy_digest
from asyncgg.cleanup.notify import notify_result, parse_targets
from asyncgg.cleanup.report import CleanupReport
from asyncgg.cleanup.runner import PolicyRunner
from asyncgg.cli.console import Console
from asyncgg.cli.log_events import Notice
from asyncgg.cli.progress import ProgressDisplay, ProgressView, format_progress, progress_to_dict, render_live
from asyncgg.cli.scan import SCAN_VIEW
from asyncgg.cli.signals import raise_on_signal, stop_on_signal
from asyncgg.cli.supervisor import NotStartedError, run_async
from asyncgg.errors import AsyncggError, InternalError, SettingsError
from asyncgg.formatting import format_duration
from asyncgg.inventory import ScanProgress
from asyncgg.models import Operation, RunState
from asyncgg.report import format_summary
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint, resolve_endpoint

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["format_cleanup", "load_checked_policy", "run_policy"]

_MAX_REASONS: Final = 10


def load_checked_policy(path: Path, console: Console) -> Policy:
    """The policy, its doubtful places told. Raises `SettingsError` with every fault of it."""
    check = check_policy(path)
    if check.policy is None:
        raise SettingsError("\n".join(error.format(str(path)) for error in check.errors))
    for warning in check.warnings:
        console.log_event(
            {"event": "warning", "warning": warning.format(str(path))}, f"warning: {warning.format(str(path))}"
        )
    return check.policy


def run_policy(path: Path, settings: Settings, console: Console, *, dry_run: bool) -> int:
    """Do what the policy says, tell whom it names, write the result; the exit code.

    Raises an `AsyncggError` when it could not begin, or KeyboardInterrupt when it was cut off.
    """
    policy = merge_limits(load_checked_policy(path, console), settings)
    targets = parse_targets(policy)
    settings = effective_settings(settings, policy)
    connection = connection_from_settings(settings)
    try:
        with raise_on_signal():
            endpoint = resolve_endpoint(connection)
            keep_lists = load_keep_lists(policy, settings, endpoint)
        report = run_async(_Start(policy, settings, console, endpoint, keep_lists, dry_run).run())
    except Exception as error:  # who waits for the night's report should hear that there is none
        failure = error if isinstance(error, AsyncggError) else InternalError(f"{type(error).__name__}: {error}")
        report = CleanupReport(policy.name, dry_run=dry_run)
        report.fail(failure)
        _warn(console, *run_async(notify_result(policy, targets, report, connection)))
        raise
    delivery_errors = run_async(notify_result(policy, targets, report, connection))
    _warn(console, *delivery_errors)
    report.warnings += delivery_errors
    lines = format_cleanup(report)
    if console.as_json and not console.quiet:
        console.print(*lines)
    console.write_result(report.to_dict(), lines)
    return report.exit


class _Start:
    def __init__(
        self,
        policy: Policy,
        settings: Settings,
        output: Console,
        target: Endpoint,
        lists: dict[str, frozenset[str]],
        dry_run: bool,
    ) -> None:
        self._policy = policy
        self._settings = settings
        self._output = output
        self._target = target
        self._lists = lists
        self._dry_run = dry_run
        self._display = ProgressDisplay(output, view=_CLEANUP_VIEW)
        self._clean_up: PolicyRunner | None = None

    async def run(self) -> CleanupReport:
        task = asyncio.create_task(self._run(), name="asyncgg-cleanup")
        async with self._display.running():
            with stop_on_signal(lambda reason: self._stop(task, reason), task.cancel):
                await asyncio.wait((task,))
                with contextlib.suppress(Exception):  # a look at what may never have begun
                    self._display.refresh_final()
        if not task.cancelled():
            return task.result()
        if self._clean_up is None:
            raise NotStartedError("interrupted; nothing was sent")
        raise KeyboardInterrupt("cut off by a second signal; the next start of the policy knows what was sent perhaps")

    async def _run(self) -> CleanupReport:
        account, _ = await verify_account(connection_from_settings(self._settings), self._target, self._settings)
        self._clean_up = PolicyRunner(
            self._policy,
            self._settings,
            self._target,
            digest=policy_digest(self._policy, self._lists),
            lists=self._lists,
            account=account,
            listeners=[self._display.listen],
            on_start=self._display.watch,
            on_stage=lambda words: self._display.notice(Notice(words, {"event": "step", "step": words})),
            on_warning=lambda words: self._display.notice(
                Notice(f"warning: {words}", {"event": "warning", "warning": words})
            ),
        )
        return await self._clean_up.run(dry_run=self._dry_run)

    def _stop(self, task: asyncio.Task[Any], reason: str) -> None:
        if self._clean_up is None:
            task.cancel()
        else:
            self._clean_up.stop(reason)
            self._display.notice(Notice("a second signal cuts off what is in flight", {"event": "hint"}))


def _warn(console: Console, *lines: str) -> None:
    for line in lines:
        console.log_event({"event": "warning", "warning": line}, f"warning: {line}")


# --- how it goes: a sweep, a run, and a sweep again ---


def _format_line(progress: Any, rate: float) -> str:
    return (
        SCAN_VIEW.format_line(progress, rate) if isinstance(progress, ScanProgress) else format_progress(progress, rate)
    )


def _progress_to_dict(progress: Any, rate: float) -> dict[str, Any]:
    if isinstance(progress, ScanProgress):
        return SCAN_VIEW.to_dict(progress, rate)
    return progress_to_dict(progress, rate, Operation.DISASSOCIATE)


def _render_live(progress: Any, rate: float) -> RenderableType:
    return SCAN_VIEW.render_live(progress, rate) if isinstance(progress, ScanProgress) else render_live(progress, rate)


_CLEANUP_VIEW: Final = ProgressView(_format_line, _progress_to_dict, _render_live)


# --- how it ended ---


def format_cleanup(report: CleanupReport) -> list[str]:
    """A night's end for a person."""
    state = "dry run" if report.dry_run and report.state is RunState.PLANNED else report.state.value
    headline = f"policy {report.policy}: {state}{f': {report.reason}' if report.reason else ''}"
    lines = [headline]
    if report.resumed is not None and report.resumed.summary is not None:
        run = report.resumed.run_dir
        lines.append(f"  before     the run of {run.name if run else '?'} was gone on with:")
        lines += [f"  {line}" for line in format_summary(report.resumed.summary, reason=report.resumed.reason)]
    if report.scan is not None:
        counts = report.scan.counts
        lines.append(
            f"  sweep      {counts.cores:,} cores, {counts.associations:,} associations,"
            f" {report.scan.sent:,} requests, {format_duration(report.scan.seconds)}"
        )
    lines += _format_decisions(report)
    if report.canary is not None:
        status = "verified" if report.canary.passed else "not passed"
        lines.append(f"  canary     {report.canary.things:,} things, {status}")
    if report.summary is not None:
        lines += format_summary(report.summary)[1:]
    lines += [f"  removed    the night {name}" for name in report.pruned]
    if report.run_dir is not None:
        lines.append(f"  report     {report.run_dir.report}")
        if report.decision_counts is not None:
            lines.append(f"  decisions  {report.run_dir.decisions}")
    return lines


def _format_decisions(report: CleanupReport) -> list[str]:
    counts = report.decision_counts
    if counts is None:
        return []
    parts = [
        f"{counts.by_disposition[disposition]:,} {disposition}"
        for disposition in Disposition
        if counts.by_disposition[disposition]
    ]
    lines = [f"  decided    {', '.join(parts) or 'nothing: there are no associations'}"]
    for number, (reason, count) in enumerate(counts.reasons.most_common()):
        if number == _MAX_REASONS:
            lines.append(f"             and {len(counts.reasons) - number:,} more reasons")
            break
        lines.append(f"  {'reasons' if number == 0 else '':<10} {count:,}: {reason}")
    return lines
