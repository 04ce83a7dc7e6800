"""Rule: one start of a policy as the command line does it lives here: lists, account, signals, display, who is told."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncgg.cleanup import Disposition, Policy, check_policy
from asyncgg.cleanup.beginning import effective_settings, load_keep_lists, merge_limits, policy_digest
from asyncgg.cleanup.clean_up import PolicyRunner
from asyncgg.cleanup.outcome import CleanupReport
from asyncgg.cleanup.telling import notify_result, parse_targets
from asyncgg.cli.notices import Notice
from asyncgg.cli.output import Output
from asyncgg.cli.progress import Display, Form, picture, progress_line, progress_record
from asyncgg.cli.running import NotBegunError, run_loop
from asyncgg.cli.signals import interrupting, stopping
from asyncgg.cli.sweeping import FORM as SWEEP
from asyncgg.errors import AsyncggError, InternalError, SettingsError
from asyncgg.inventory import ScanProgress
from asyncgg.model import Operation, RunState
from asyncgg.report import format_summary
from asyncgg.report.summary import format_duration
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint, resolve_endpoint

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["checked", "night_lines", "run_policy"]

_REASONS_SHOWN: Final = 10


def checked(path: Path, output: Output) -> Policy:
    """The policy, its doubtful places told. Raises `SettingsError` with every fault of it."""
    found = check_policy(path)
    if found.policy is None:
        raise SettingsError("\n".join(fault.format(str(path)) for fault in found.errors))
    for doubt in found.warnings:
        output.tell({"event": "warning", "warning": doubt.format(str(path))}, f"warning: {doubt.format(str(path))}")
    return found.policy


def run_policy(path: Path, settings: Settings, output: Output, *, dry_run: bool) -> int:
    """Do what the policy says, tell whom it names, write the result; the exit code.

    Raises an `AsyncggError` when it could not begin, or KeyboardInterrupt when it was cut off.
    """
    policy = merge_limits(checked(path, output), settings)
    targets = parse_targets(policy)
    settings = effective_settings(settings, policy)
    connection = connection_from_settings(settings)
    try:
        with interrupting():
            target = resolve_endpoint(connection)
            lists = load_keep_lists(policy, settings, target)
        report = run_loop(_Start(policy, settings, output, target, lists, dry_run).run())
    except Exception as error:  # who waits for the night's report should hear that there is none
        known = error if isinstance(error, AsyncggError) else InternalError(f"{type(error).__name__}: {error}")
        report = CleanupReport(policy.name, dry_run=dry_run)
        report.fail(known)
        _warn(output, *run_loop(notify_result(policy, targets, report, connection)))
        raise
    untold = run_loop(notify_result(policy, targets, report, connection))
    _warn(output, *untold)
    report.warnings += untold
    lines = night_lines(report)
    if output.as_json and not output.quiet:
        output.say(*lines)
    output.result(report.to_dict(), lines)
    return report.exit


class _Start:
    def __init__(
        self,
        policy: Policy,
        settings: Settings,
        output: Output,
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
        self._display = Display(output, form=_FORM)
        self._clean_up: PolicyRunner | None = None

    async def run(self) -> CleanupReport:
        task = asyncio.create_task(self._run(), name="asyncgg-cleanup")
        async with self._display.shown():
            with stopping(lambda reason: self._stop(task, reason), task.cancel):
                await asyncio.wait((task,))
                with contextlib.suppress(Exception):  # a look at what may never have begun
                    self._display.last_look()
        if not task.cancelled():
            return task.result()
        if self._clean_up is None:
            raise NotBegunError("interrupted; nothing was sent")
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


def _warn(output: Output, *lines: str) -> None:
    for line in lines:
        output.tell({"event": "warning", "warning": line}, f"warning: {line}")


# --- how it goes: a sweep, a run, and a sweep again ---


def _line(progress: Any, rate: float) -> str:
    return SWEEP.line(progress, rate) if isinstance(progress, ScanProgress) else progress_line(progress, rate)


def _record(progress: Any, rate: float) -> dict[str, Any]:
    if isinstance(progress, ScanProgress):
        return SWEEP.record(progress, rate)
    return progress_record(progress, rate, Operation.DISASSOCIATE)


def _picture(progress: Any, rate: float) -> RenderableType:
    return SWEEP.picture(progress, rate) if isinstance(progress, ScanProgress) else picture(progress, rate)


_FORM: Final = Form(_line, _record, _picture)


# --- how it ended ---


def night_lines(report: CleanupReport) -> list[str]:
    """A night's end for a person."""
    state = "dry run" if report.dry_run and report.state is RunState.PLANNED else report.state.value
    head = f"policy {report.policy}: {state}{f': {report.reason}' if report.reason else ''}"
    lines = [head]
    if report.resumed is not None and report.resumed.summary is not None:
        night = report.resumed.run_dir
        lines.append(f"  before     the run of {night.name if night else '?'} was gone on with:")
        lines += [f"  {line}" for line in format_summary(report.resumed.summary, reason=report.resumed.reason)]
    if report.scan is not None:
        counts = report.scan.counts
        lines.append(
            f"  sweep      {counts.cores:,} cores, {counts.associations:,} associations,"
            f" {report.scan.sent:,} requests, {format_duration(report.scan.seconds)}"
        )
    lines += _decisions(report)
    if report.canary is not None:
        said = "verified" if report.canary.passed else "not passed"
        lines.append(f"  canary     {report.canary.things:,} things, {said}")
    if report.summary is not None:
        lines += format_summary(report.summary)[1:]
    lines += [f"  removed    the night {name}" for name in report.pruned]
    if report.run_dir is not None:
        lines.append(f"  report     {report.run_dir.report}")
        if report.decision_counts is not None:
            lines.append(f"  decisions  {report.run_dir.decisions}")
    return lines


def _decisions(report: CleanupReport) -> list[str]:
    tally = report.decision_counts
    if tally is None:
        return []
    said = [f"{tally.by_disposition[verdict]:,} {verdict}" for verdict in Disposition if tally.by_disposition[verdict]]
    lines = [f"  decided    {', '.join(said) or 'nothing: there are no associations'}"]
    for number, (reason, count) in enumerate(tally.reasons.most_common()):
        if number == _REASONS_SHOWN:
            lines.append(f"             and {len(tally.reasons) - number:,} more reasons")
            break
        lines.append(f"  {'reasons' if number == 0 else '':<10} {count:,}: {reason}")
    return lines
