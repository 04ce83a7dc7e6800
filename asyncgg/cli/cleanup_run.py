"""Runs a policy from the command line, formats its result, and explains its decisions."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asyncgg.cleanup.context import effective_settings, load_keep_lists, merge_limits, policy_digest
from asyncgg.cleanup.explain import Explanation, explain, recorded_decisions
from asyncgg.cleanup.lookup_progress import LookupProgress
from asyncgg.cleanup.policy.loader import load_policy
from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.report import CleanupReport, notify_result, parse_targets
from asyncgg.cleanup.rules.base import Candidate
from asyncgg.cleanup.runner import PolicyRunner
from asyncgg.cleanup.select import Disposition, decide_chunks
from asyncgg.cli.console import Console
from asyncgg.cli.context import CommandContext
from asyncgg.cli.log_events import Notice
from asyncgg.cli.progress import ProgressDisplay, ProgressView, progress_event, run_view
from asyncgg.cli.scan import SCAN_VIEW
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.state import open_state
from asyncgg.cli.supervisor import Supervision, run_async, run_supervised
from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError, InternalError, StateWriteError, UsageError
from asyncgg.formatting import format_count, format_counts, format_duration, format_timestamp
from asyncgg.inventory import ScanProgress, Snapshot
from asyncgg.models import Operation, RunState
from asyncgg.notify import NotificationTarget
from asyncgg.report import format_summary
from asyncgg.report.summary import format_commands
from asyncgg.run_directory import latest_snapshot
from asyncgg.runs import verify_account
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.observers import export_state
from asyncgg.transport import Endpoint

_MAX_REASONS: Final = 10
_EXIT_NOT_FOUND: Final = 3


def _load_policy(path: Path, context: CommandContext) -> Policy:
    """The policy, with the limits of the command line. Raises `SettingsError` with all errors."""
    policy, warnings = load_policy(path)
    warn(context.console, *(warning.format(str(path)) for warning in warnings))
    return merge_limits(policy, context.settings)


def run_policy(path: Path, context: CommandContext, *, dry_run: bool) -> int:
    """Run the policy, notify its targets, write the result and return the exit code.

    Raises an `AsyncggError` if the run could not start, KeyboardInterrupt if it was aborted.
    """
    console = context.console
    policy = _load_policy(path, context)
    targets = parse_targets(policy)
    context = CommandContext(effective_settings(context.settings, policy), console)
    try:
        with raise_on_signal():
            endpoint = context.resolve_endpoint()
            keep_lists = load_keep_lists(policy, context.settings, endpoint)
            report = _run_in_state(policy, context, endpoint, keep_lists, dry_run, targets)
    except Exception as error:  # the report must say that the run failed
        failure = error if isinstance(error, AsyncggError) else InternalError(f"{type(error).__name__}: {error}")
        report = CleanupReport(policy.name, dry_run=dry_run)
        report.fail(failure)
        warn(console, *run_async(notify_result(policy, targets, report, context.connection)))
        raise
    console.write_result(report.to_dict(), format_cleanup(report), always_print=True)
    return report.exit


def dry_run_policy(path: Path, context: CommandContext) -> Path:
    """Decide without sending anything; the file of the decisions. Raises an `AsyncggError`."""
    policy = _load_policy(path, context)
    context = CommandContext(effective_settings(context.settings, policy), context.console)
    with raise_on_signal():
        endpoint = context.resolve_endpoint()
        report = _run(policy, context, endpoint, load_keep_lists(policy, context.settings, endpoint), dry_run=True)
    if report.state is not RunState.PLANNED or report.run_dir is None:
        raise StoppedPolicyError(f"{path}: the policy could not decide: {report.reason}", report.exit)
    return report.run_dir.decisions


class StoppedPolicyError(AsyncggError):
    """A policy ended without its decisions; `exit_code` is that of its run."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _run_in_state(
    policy: Policy,
    context: CommandContext,
    endpoint: Endpoint,
    keep_lists: dict[str, frozenset[str]],
    dry_run: bool,
    targets: list[NotificationTarget],
) -> CleanupReport:
    """As `_run`, with the runs in the state of the settings instead of the folder of the policy, if there is one.

    Notifies before the last save of a state, so that a lost notification is in the saved report.
    """
    if dry_run or context.settings.state is None:
        report = _run(policy, context, endpoint, keep_lists, dry_run)
        _notify(policy, context, report, targets)
        return report
    with open_state(context, policy.state.keep_runs) as state:
        assert state is not None
        policy = replace(policy, state=replace(policy.state, folder=str(state.folder)))
        report = _run(policy, replace(context, state=state), endpoint, keep_lists, dry_run)
        report.show_saved(state.location)
        _notify(policy, context, report, targets)
    return report


def _notify(policy: Policy, context: CommandContext, report: CleanupReport, targets: list[NotificationTarget]) -> None:
    """Notify the targets of the end of the run; what is lost becomes a warning of the report."""
    lost = run_async(notify_result(policy, targets, report, context.connection))
    warn(context.console, *lost)
    report.warnings += lost
    if lost and report.run_dir is not None:
        with suppress(StateWriteError):  # the warning is on standard error
            report.run_dir.write_report(report.to_dict())


def _run(
    policy: Policy, context: CommandContext, endpoint: Endpoint, keep_lists: dict[str, frozenset[str]], dry_run: bool
) -> CleanupReport:
    display = ProgressDisplay(context.console, view=_CLEANUP_VIEW)

    async def work(supervision: Supervision) -> CleanupReport:
        account, _ = await verify_account(endpoint, context.settings)
        runner = PolicyRunner(
            policy,
            context.settings,
            endpoint,
            digest=policy_digest(policy, keep_lists),
            lists=keep_lists,
            account=account,
            lease=context.state,
            listeners=[display.listen],
            on_start=display.watch,
            on_stage=lambda stage: display.notice(Notice(stage, {"event": "stage", "stage": stage})),
            on_warning=lambda text: display.notice(Notice(f"warning: {text}", {"event": "warning", "warning": text})),
        )
        supervision.stop = lambda reason: runner.stop(StopReason(RunState.INTERRUPTED, reason))
        if context.state is not None:
            schedule = asyncio.get_running_loop().call_soon_threadsafe
            context.state.when_lost(lambda reason: schedule(runner.stop, StopReason(RunState.ABORTED, reason)))
        report = await runner.run(dry_run=dry_run)
        if not dry_run:
            labels = TelemetryLabels("disassociate", account.account if account else "", endpoint.region, policy.name)
            await export_state(context.settings, labels, report.state)
        return report

    message = "aborted by a second signal; the next run of the policy checks what was possibly sent"
    return run_supervised(work, display, abort_message=message)


def warn(console: Console, *lines: str) -> None:
    """Write warnings to standard error."""
    for line in lines:
        console.log_event({"event": "warning", "warning": line}, f"warning: {line}")


# --- progress: of a scan, a run, and a scan again ---

_RUN_VIEW: Final = run_view(Operation.DISASSOCIATE)


def _view(progress: Any) -> ProgressView:
    if isinstance(progress, LookupProgress):
        return _LOOKUP_VIEW
    return SCAN_VIEW if isinstance(progress, ScanProgress) else _RUN_VIEW


def _lookup_details(progress: LookupProgress, rate: float) -> list[str]:
    seconds = (progress.associations - progress.things) / (rate or progress.rate)
    details = [f"{rate:.0f} lookups/s (limit {progress.rate:.0f})", f"at most {format_duration(seconds)} left"]
    return [f"{progress.failed:,} failed", *details] if progress.failed else details


_LOOKUP_VIEW: Final = ProgressView(
    lambda progress: (progress.things, progress.associations),
    lambda progress: f"asking AWS IoT: {progress.things:,} of up to {format_count(progress.associations, 'thing')}",
    _lookup_details,
    progress_event,
)


_CLEANUP_VIEW: Final = ProgressView(
    lambda progress: _view(progress).fraction(progress),
    lambda progress: _view(progress).label(progress),
    lambda progress, rate: _view(progress).details(progress, rate),
    lambda progress, rate: _view(progress).to_dict(progress, rate),
)


# --- result ---


def format_cleanup(report: CleanupReport) -> list[str]:
    """The result as lines of text."""
    state = "dry run" if report.dry_run and report.state is RunState.PLANNED else report.state.value
    headline = f"policy {report.policy}: {state}{f': {report.reason}' if report.reason else ''}"
    lines = [headline]
    if report.resumed is not None and report.resumed.summary is not None:
        run = report.resumed.run_dir
        lines.append(f"  before     resumed run {run.name if run else '?'}:")
        lines += [f"  {line}" for line in format_summary(report.resumed.summary, reason=report.resumed.reason)]
    if report.scan is not None:
        counts = report.scan.counts
        lines.append(
            f"  scan       {format_count(counts.cores, 'core')}, {format_count(counts.associations, 'association')},"
            f" {format_count(report.scan.sent, 'request')}, {format_duration(report.scan.seconds)}"
        )
    lines += _format_decisions(report)
    if report.canary is not None:
        status = "verified" if report.canary.passed else "not passed"
        lines.append(f"  canary     {format_count(report.canary.things, 'thing')}, {status}")
    if report.summary is not None:
        lines += format_summary(report.summary)[1:]
    lines += [f"  pruned     run {name}" for name in report.pruned]
    if report.run_dir is not None:
        lines.append(f"  report     {report.files['report']}")
        if report.decision_counts is not None:
            lines.append(f"  decisions  {report.files.get('decisions', report.run_dir.decisions)}")
    return lines + format_commands(report.next_commands())


def _format_decisions(report: CleanupReport) -> list[str]:
    counts = report.decision_counts
    if counts is None:
        return []
    parts = format_counts(*((counts.by_disposition[disposition], str(disposition)) for disposition in Disposition))
    lines = [f"  decided    {', '.join(parts) or 'nothing (no associations)'}"]
    for number, (reason, count) in enumerate(counts.reasons.most_common()):
        if number == _MAX_REASONS:
            lines.append(f"             and {len(counts.reasons) - number:,} more reasons")
            break
        lines.append(f"  {'reasons' if number == 0 else '':<10} {count:,}: {reason}")
    return lines


# --- explanation ---


def explain_thing(path: Path, thing: str, context: CommandContext, *, inventory: Path | None) -> int:
    """Write what the policy decides for each association of `thing`; exit code 3 without any.

    Decides on `inventory`, else on the snapshot of the last run. Raises `UsageError` without one.
    """
    policy, console = _load_policy(path, context), context.console
    snapshot_path = inventory or latest_snapshot(policy.state_dir)
    if snapshot_path is None:
        raise UsageError(f"{policy.state_dir}: no snapshot yet; give --inventory, or start a --dry-run")
    with raise_on_signal(), Snapshot(snapshot_path) as snapshot:
        if not snapshot.finished:
            console.print(f"warning: {snapshot_path}: the scan is incomplete, {thing} may be on further cores")
        associations = list(snapshot.pairs_of_things([thing]))
        names = {association.core for association in associations}
        devices = {core.device.name: core.device for core in snapshot.cores() if core.device.name in names}
        taken_at = format_timestamp(snapshot.started_at)
        if context.settings.region is None and snapshot.origin.region:  # the facts belong to this Region
            settings = context.settings.model_copy(update={"region": snapshot.origin.region})
            context = CommandContext(settings, console)
        candidates = [Candidate(devices[core], name, associated_at) for core, name, associated_at in associations]
        explanations = run_async(_explain_candidates(policy, candidates, context)) if candidates else []
    recorded = [] if inventory else recorded_decisions(snapshot_path, thing)
    lines = [f"last run: {thing} on {core}: {verdict}, {reason}" for core, verdict, reason in recorded]
    lines.append(f"now, by {snapshot_path}, taken {taken_at}:")
    for explanation in explanations:
        lines += explanation.lines()
    if not explanations:
        lines.append(f"{thing} is on no core")
    console.write_result(
        {
            "schema": "asyncgg.explain/1",
            "policy": policy.name,
            "thing": thing,
            "snapshot": str(snapshot_path),
            "taken_at": taken_at,
            "recorded": [decision._asdict() for decision in recorded],
            "associations": [explanation.to_dict() for explanation in explanations],
        },
        lines,
    )
    return 0 if explanations else _EXIT_NOT_FOUND


async def _explain_candidates(
    policy: Policy, candidates: list[Candidate], context: CommandContext
) -> list[Explanation]:
    now = time.time()
    keep_lists = load_keep_lists(policy, context.settings, context.resolve_endpoint())
    async with AsyncExitStack() as stack:
        registry = None
        if policy.required_apis:
            from asyncgg.cleanup.registry import open_registry

            registry = await stack.enter_async_context(open_registry(context.connection, policy.iot))
        registry_cache = RegistryCache(registry, lists=keep_lists)
        async for _ in decide_chunks(policy, [candidates], registry_cache, now):
            pass  # this fills the cache
        return [explain(policy, candidate, registry_cache.facts, now) for candidate in candidates]
