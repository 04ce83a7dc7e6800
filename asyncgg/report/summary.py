"""Formats the summary of a run as a JSON object and as text."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from asyncgg.classify import FailureKind, failure_kind
from asyncgg.formatting import CommandLine, format_counts, format_duration
from asyncgg.models import Operation, RunState, Summary
from asyncgg.ratelimit import QUOTA_CODE

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
    RunState.COMPLETE: "complete: every thing is {participle}",
    RunState.PARTIAL: "completed with failures",
    RunState.ABORTED: "aborted",
    RunState.DEADLINE: "stopped at the deadline",
    RunState.INTERRUPTED: "interrupted",
}
_STOPPED: Final = "stopped"
"""The label of DEADLINE with a reason, which names the deadline."""
_NOTHING_LEFT: Final = "complete: nothing left to {operation}"
"""The label of COMPLETE if the run did not change every thing."""
_MAX_CODES: Final = 10
_AUTH_ERROR: Final = 5
_MISSING_HINTS: Final[Mapping[Operation, str]] = {
    Operation.DISASSOCIATE: "# not found: check account, Region and list;"
    " --absent ok and --missing-cores ok count these things as done",
    Operation.ASSOCIATE: "# not found: these things or cores do not exist any more",
}

_QUOTA_HINT: Final = (
    f"# throttled: retry with a lower --quota-share; the quota is greengrass {QUOTA_CODE} in AWS Service Quotas"
)


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
            "already": summary.already,
            "failed": summary.failed,
            "pending": summary.pending,
            "rejected": summary.rejected,
            "duplicates": summary.duplicates,
            "protected": summary.protected,
            "header_rows": summary.header_rows,
        },
        "requests": {
            "sent": summary.sent,
            "minimum": summary.minimum,
            "throttled": summary.throttled,
            "retried": summary.retried,
        },
        "seconds": round(summary.seconds, 3),
        "failures": dict(summary.failures),
        "warnings": _warnings(summary),
        "next": next_commands(summary, exit_code),
    }
    if exit_code is not None:
        document["exit"] = exit_code
    if reason:
        document["reason"] = reason
    return document


def summary_from_dict(document: Mapping[str, Any]) -> Summary:
    """The counts of a document that `summary_to_dict` made. Raises `ValueError` for another one."""
    try:
        if document["schema"] != SCHEMA:
            raise ValueError(f"not a document of {SCHEMA}")
        operation, things = Operation(document["operation"]), document["things"]
        return Summary(
            run=str(document["run"]),
            journal=str(document["journal"]),
            state=RunState(document["state"]),
            total=int(things["total"]),
            disassociated=int(things[operation.past_participle]),
            failed=int(things["failed"]),
            pending=int(things["pending"]),
            already=int(things["already"]),
            seconds=float(document["seconds"]),
            operation=operation,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a complete document of {SCHEMA}: {error}") from None


def format_summary(summary: Summary, *, reason: str = "") -> list[str]:
    """Format the summary as lines of text."""
    participle = summary.operation.past_participle
    label = _STATE_LABELS[summary.state]
    if summary.state is RunState.COMPLETE and (summary.already or not summary.total):
        label = _NOTHING_LEFT
    label = label.format(operation=summary.operation, participle=participle)
    if reason:
        label = f"{_STOPPED if summary.state is RunState.DEADLINE else label}: {reason}"
    lines = [label]
    lines.append(f"  things     {_format_things(summary)}")
    excluded = format_counts(
        (summary.rejected, "bad rows"),
        (summary.header_rows, "repeated headers"),
        (summary.duplicates, "duplicates"),
        (summary.protected, "protected"),
    )
    if excluded:
        lines.append(f"  excluded   {', '.join(excluded)}")
    lines.append(
        f"  requests   {summary.sent:,} sent ({summary.minimum:,} minimum),"
        f" {summary.throttled:,} throttled, {summary.retried:,} retried"
    )
    rate = (
        f", {summary.sent / summary.seconds:.1f} requests/s"
        if summary.seconds >= 1 and summary.state is not RunState.RUNNING
        else ""
    )
    lines.append(f"  time       {format_duration(summary.seconds)}{rate}")
    lines += _format_failures(summary.failures)
    lines += [f"  warning    {warning}" for warning in _warnings(summary)]
    lines.append(f"  journal    {summary.journal}")
    return lines


def _format_things(summary: Summary) -> str:
    """What became of the things of a run."""
    changed = f"{summary.disassociated:,} of {summary.total:,} {summary.operation.past_participle}"
    counts = [changed, *format_counts((summary.already, "already")), f"{summary.failed:,} failed"]
    return ", ".join(counts + format_counts((summary.pending, "pending")))


def _warnings(summary: Summary) -> list[str]:
    """What can be wrong although the run succeeded."""
    warnings = list(summary.lost_notifications)
    if summary.operation is Operation.DISASSOCIATE and summary.total and summary.already == summary.total:
        warnings.append("nothing was disassociated, every thing was absent: are account, Region and list right?")
    return warnings


def next_commands(summary: Summary, exit_code: int | None = None, *, undone: bool = False) -> list[str]:
    """The commands that can help next, by state, exit code and failure codes.

    Lines of a shell: what to do before is a comment. `undone`: an undo has restored the things.
    """
    if summary.state is RunState.RUNNING:
        return []
    location = summary.state_location
    journal = f"--state {shlex.quote(location)}" if location else shlex.quote(summary.journal)
    if summary.state_run:
        journal += f" --run {summary.state_run}"
    if summary.state is RunState.COMPLETE:
        commands = [f"asyncgg report {journal} --html report.html"]
        if not undone:
            commands.insert(0, f"asyncgg verify {journal}")
            if summary.undoable and summary.disassociated:
                commands.append(f"asyncgg undo {journal}")
        return commands if summary.total else []
    kinds = {failure_kind(code) for code in summary.failures}
    commands = []
    if FailureKind.DENIED in kinds or exit_code == _AUTH_ERROR:
        cause = "access denied" if FailureKind.DENIED in kinds else "renew the credentials, or if access was denied"
        statement = {"Effect": "Allow", "Action": f"greengrass:{summary.operation.api}", "Resource": "*"}
        commands.append(f"# {cause}: add to the IAM policy {json.dumps(statement)}")
    if FailureKind.INVALID in kinds:
        commands.append("# correct the rows that the service rejects as invalid, or remove them")
    if FailureKind.MISSING in kinds:
        commands.append(_MISSING_HINTS[summary.operation])
    if FailureKind.THROTTLED in kinds:
        commands.append(_QUOTA_HINT)
    if summary.failed:
        commands.append(f"asyncgg report {journal} --failures failures.csv")
    if summary.pending:
        commands.append(f"asyncgg resume {journal}")
    if kinds & {FailureKind.DENIED, FailureKind.THROTTLED, FailureKind.OTHER}:
        commands.append(f"asyncgg retry {journal}")
    return commands


def format_next_commands(summary: Summary, exit_code: int | None = None) -> list[str]:
    """The lines that suggest these commands; empty without commands."""
    return format_commands(next_commands(summary, exit_code))


def format_commands(commands: Iterable[str]) -> list[str]:
    """The lines that suggest these lines of a shell; empty without any."""
    lines = [f"  {command}" if command.startswith("#") else CommandLine(f"  {command}") for command in commands]
    return ["next:", *lines] if lines else []


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
