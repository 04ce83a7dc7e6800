"""`asyncgg fleet cleanup`: a clean-up policy in all targets."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from asyncgg.cleanup.policy.loader import load_policy
from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.report import CleanupReport, event_for_code, parse_targets
from asyncgg.cli.cleanup_run import warn
from asyncgg.cli.console import Console
from asyncgg.cli.fleet_targets import format_target, load_fleet, run_group, targets_to_dict, write_targets
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import run_async
from asyncgg.errors import AsyncggError, UsageError
from asyncgg.fleet.campaign import plan_waves
from asyncgg.fleet.cleanup import FleetCleanup, TotalLimit
from asyncgg.fleet.group import TargetResult
from asyncgg.formatting import format_count
from asyncgg.notify import Message, notify
from asyncgg.report import summary_to_dict
from asyncgg.runs.connection import connection_from_settings
from asyncgg.settings import Settings

SCHEMA: Final = "asyncgg.campaign-cleanup/1"
_ABORTED: Final = "aborted by a second signal; the next run of the policy checks what was possibly sent"


def clean_up_targets(path: Path, arguments: Mapping[str, Any]) -> int:
    """Run the policy in all targets, notify, write the result and return the exit code.

    Raises an `AsyncggError` if nothing could start, KeyboardInterrupt if it was aborted.
    """
    policy, warnings = load_policy(path)
    parse_targets(policy)  # report a missing variable first
    try:
        context, targets = load_fleet(arguments)
        if context.settings.state is not None:
            raise UsageError("--state is for the clean-up of one target")
        waves = plan_waves(list(targets), arguments["waves"], arguments["canary"])
    except AsyncggError as error:  # a scheduled run has no other reader
        console, text = Console(as_json=arguments["json"]), f"{policy.name}: aborted: {error}"
        warn(console, *_notify(policy, error.exit_code, text, {}, Settings(), dry_run=arguments["dry_run"]))
        raise
    console, dry_run = context.console, arguments["dry_run"]
    warn(console, *(warning.format(str(path)) for warning in warnings))
    folder = arguments["campaign"] or policy.state_dir.with_name(f"{policy.state_dir.name}-by-target")
    maximum = arguments["max_things"]
    cleanup = FleetCleanup(
        policy=policy,
        settings={name: settings for name, (_, settings) in targets.items()},
        folder=folder,
        dry_run=dry_run,
        limit=None if maximum is None else TotalLimit(waves, maximum),
        on_warning=lambda name, text: warn(console, f"{name}: {text}"),
    )
    with raise_on_signal():
        results = run_group(
            targets,
            cleanup.run,
            console,
            abort_message=_ABORTED,
            waves=waves,
            abort_targets=arguments["abort_targets"],
        )
    document = targets_to_dict(SCHEMA, [target for target, _ in targets.values()], results, _details)
    document |= {
        "policy": policy.name,
        "dry_run": dry_run,
        "folder": str(folder),
        "things": _sum_things(results),
        "warnings": [],
    }
    lines = _format(policy.name, document, results)
    document["warnings"] = _notify(policy, document["exit"], lines[0], document, context.settings, dry_run=dry_run)
    warn(console, *document["warnings"])
    return write_targets(console, document, lines)


def _notify(
    policy: Policy, code: int, text: str, document: Mapping[str, Any], settings: Settings, *, dry_run: bool
) -> list[str]:
    """Notify the targets of the policy if it lists this event; a message for each that failed."""
    event, targets = event_for_code(code), parse_targets(policy)
    if dry_run or not targets or event.value not in policy.notify.on:
        return []
    message = Message(event, f"asyncgg {' '.join(text.split())}", document, socket.gethostname(), policy.name)
    return run_async(notify(targets, message, connection=connection_from_settings(settings)))


def _details(result: TargetResult[CleanupReport]) -> dict[str, Any]:
    report = result.value
    if report is None:
        return {"decisions": None, "things": {}, "requests": {}, "files": {}, "warnings": []}
    summary = summary_to_dict(report.summary) if report.summary else {}
    return {
        "decisions": report.decision_counts.to_dict() if report.decision_counts else None,
        "things": summary.get("things", {}),
        "requests": summary.get("requests", {}),
        "files": report.files,
        "warnings": report.warnings,
    }


def _sum_things(results: list[TargetResult[CleanupReport]]) -> dict[str, int]:
    summaries = [result.value.summary for result in results if result.value and result.value.summary]
    counts = [result.value.decision_counts for result in results if result.value and result.value.decision_counts]
    return {
        "selected": sum(count.selected for count in counts),
        "disassociated": sum(summary.disassociated for summary in summaries),
        "already": sum(summary.already for summary in summaries),
        "failed": sum(summary.failed for summary in summaries),
        "pending": sum(summary.pending for summary in summaries),
    }


def _format(policy: str, document: Mapping[str, Any], results: list[TargetResult[CleanupReport]]) -> list[str]:
    done, things = sum(result.exit == 0 for result in results), document["things"]
    broken = [result.name for result in results if result.exit]
    headline = f"policy {policy}: {document['state']}, {done:,} of {format_count(len(results), 'target')} complete"
    headline += f", not: {', '.join(broken[:5])}{' ...' if len(broken) > 5 else ''}" if broken else ""
    counts = [f"{number:,} {name}" for name, number in things.items() if number or name == "selected"]
    lines = [headline, f"  things     {', '.join(counts)}"]
    for result in results:
        text = format_target(result)
        if result.value is not None and result.value.decision_counts is not None:
            text += f"; {result.value.decision_counts.selected:,} of {result.value.decision_counts.examined:,} selected"
        lines.append(f"  {text}")
    return [*lines, f"  runs       {document['folder']}/TARGET"]
