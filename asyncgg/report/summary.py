"""Formats the summary of a run as a JSON object and as text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.formatting import format_duration
from asyncgg.models import RunState, Summary

SCHEMA: Final = "asyncgg.summary/1"

EXIT_CODES: Final[Mapping[RunState, int]] = {
    RunState.PLANNED: 130,
    RunState.RUNNING: 130,
    RunState.COMPLETE: 0,
    RunState.PARTIAL: 3,
    RunState.ABORTED: 4,
    RunState.DEADLINE: 10,
    RunState.INTERRUPTED: 130,
}
"""The exit code of each state."""

_STATE_LABELS: Final[Mapping[RunState, str]] = {
    RunState.PLANNED: "not started",
    RunState.RUNNING: "running",
    RunState.COMPLETE: "complete: every thing is {done}",
    RunState.PARTIAL: "completed with failures",
    RunState.ABORTED: "aborted",
    RunState.DEADLINE: "stopped at the deadline",
    RunState.INTERRUPTED: "interrupted",
}
_MAX_CODES: Final = 10


def summary_to_dict(summary: Summary, *, exit_code: int | None = None, reason: str = "") -> dict[str, Any]:
    """Convert to an object of the schema `asyncgg.summary/1`; `exit` and `reason` are optional."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": summary.run,
        "journal": summary.journal,
        "operation": summary.operation.value,
        "state": summary.state.value,
        "things": {
            "total": summary.total,
            summary.operation.past_participle: summary.disassociated,
            "failed": summary.failed,
            "pending": summary.pending,
            "rejected": summary.rejected,
            "duplicates": summary.duplicates,
            "protected": summary.protected,
            "header_rows": summary.header_rows,
            "already": summary.already,
        },
        "requests": {
            "sent": summary.sent,
            "minimum": summary.minimum,
            "throttled": summary.throttled,
            "retried": summary.retried,
        },
        "seconds": round(summary.seconds, 3),
        "failures": dict(summary.failures),
    }
    if exit_code is not None:
        document["exit"] = exit_code
    if reason:
        document["reason"] = reason
    return document


def format_summary(summary: Summary, *, reason: str = "") -> list[str]:
    """Format the summary as lines of text."""
    participle = summary.operation.past_participle
    lines = [f"{_STATE_LABELS[summary.state].format(done=participle)}{f': {reason}' if reason else ''}"]
    already = f" ({summary.already:,} already {participle})" if summary.already else ""
    things = f"{summary.disassociated:,} of {summary.total:,} {participle}{already}, {summary.failed:,} failed"
    if summary.pending:
        things += f", {summary.pending:,} pending"
    lines.append(f"  things     {things}")
    excluded = [
        f"{count:,} {name}"
        for name, count in (
            ("bad rows", summary.rejected),
            ("repeated headers", summary.header_rows),
            ("duplicates", summary.duplicates),
            ("protected", summary.protected),
        )
        if count
    ]
    if excluded:
        lines.append(f"  excluded   {', '.join(excluded)}")
    lines.append(
        f"  requests   {summary.sent:,} sent ({summary.minimum:,} minimum),"
        f" {summary.throttled:,} throttled, {summary.retried:,} retried"
    )
    rate = f", {summary.sent / summary.seconds:.1f} requests/s" if summary.seconds >= 1 else ""
    lines.append(f"  time       {format_duration(summary.seconds)}{rate}")
    lines += _format_failures(summary.failures)
    lines.append(f"  journal    {summary.journal}")
    return lines


def next_commands(summary: Summary) -> list[str]:
    """Get the commands that can follow for the journal."""
    journal = shlex.quote(summary.journal)
    commands = []
    if summary.pending:
        commands.append(f"asyncgg resume {journal}")
    if summary.failed:
        commands.append(f"asyncgg report {journal} --failures failures.csv")
        if not summary.pending:
            commands.append(f"asyncgg retry {journal}")
    return commands


def format_next_commands(summary: Summary) -> list[str]:
    """The lines that suggest these commands; empty without commands."""
    commands = next_commands(summary)
    return ["next:", *(f"  {command}" for command in commands)] if commands else []


def _format_failures(failures: Mapping[str, int]) -> list[str]:
    lines = []
    width = max((len(code) for code in failures), default=0)
    for number, (code, count) in enumerate(failures.items()):
        label = "failures" if number == 0 else ""
        if number == _MAX_CODES:
            lines.append(f"  {label:<10} and {len(failures) - number} more codes")
            break
        lines.append(f"  {label:<10} {code or '(no code)':<{width}}  {count:,}")
    return lines
