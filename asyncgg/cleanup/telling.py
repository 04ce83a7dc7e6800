"""Rule: who is told how a night ended, and what, is decided here; a target that fails fails nothing."""

from __future__ import annotations

import socket

from asyncgg.cleanup.outcome import NightReport
from asyncgg.cleanup.policy import Policy
from asyncgg.notify import (
    Message,
    NotificationEvent,
    NotificationTarget,
    format_text,
    notify,
    parse_target,
    resolve_headers,
)
from asyncgg.transport import ConnectionConfig

__all__ = ["targets_of", "tell"]


def targets_of(policy: Policy) -> list[NotificationTarget]:
    """Those whom the policy names. Raises `UsageError` when a variable it names is not set."""
    wishes = policy.notify
    headers = resolve_headers(wishes.webhook_headers)
    return [parse_target(text, headers) for text in wishes.webhook] + [parse_target(arn) for arn in wishes.sns]


async def tell(
    policy: Policy, targets: list[NotificationTarget], report: NightReport, connection: ConnectionConfig
) -> list[str]:
    """Tell them, if the policy wants this kind of end told; a line for each that was not."""
    occasion = occasion_of(report)
    if report.dry_run or not targets or occasion.value not in policy.notify.on:
        return []
    message = Message(occasion, words(report), report.document(), socket.gethostname(), policy.name)
    return await notify(targets, message, connection=connection)


def occasion_of(report: NightReport) -> NotificationEvent:
    """What kind of end it was."""
    if report.exit in {0, 3, 10}:
        return NotificationEvent.END
    return NotificationEvent.GUARD if report.exit == 4 else NotificationEvent.FAILURE


def words(report: NightReport) -> str:
    """How the night ended, in one line; a run of an earlier night that was gone on with first is told after it."""
    if report.summary is not None:
        said = format_text(report.summary, reason=report.reason, policy=report.policy)
    else:
        why = f": {' '.join(report.reason.split())}" if report.reason else ""
        said = f"asyncgg {report.policy}: {report.state}{why}"
    if report.resumed is None or report.resumed.summary is None:
        return said
    return f"{said}; before that, {format_text(report.resumed.summary, policy='the earlier run')}"
