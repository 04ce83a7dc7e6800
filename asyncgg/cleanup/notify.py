"""Notifications about the end of a policy run."""

from __future__ import annotations

import socket

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.report import CleanupReport
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


def parse_targets(policy: Policy) -> list[NotificationTarget]:
    """The targets of the policy. Raises `UsageError` if an `env:` variable is not set."""
    config = policy.notify
    headers = resolve_headers(config.webhook_headers)
    return [parse_target(text, headers) for text in config.webhook] + [parse_target(arn) for arn in config.sns]


async def notify_result(
    policy: Policy, targets: list[NotificationTarget], report: CleanupReport, connection: ConnectionConfig
) -> list[str]:
    """Notify the targets if the policy lists this event; a message for each that failed."""
    event = event_for(report)
    if report.dry_run or not targets or event.value not in policy.notify.on:
        return []
    message = Message(event, summary_line(report), report.to_dict(), socket.gethostname(), policy.name)
    return await notify(targets, message, connection=connection)


def event_for(report: CleanupReport) -> NotificationEvent:
    """The event of the report."""
    if report.exit in {0, 3, 10}:
        return NotificationEvent.END
    return NotificationEvent.GUARD if report.exit == 4 else NotificationEvent.FAILURE


def summary_line(report: CleanupReport) -> str:
    """How the run ended, in one line, followed by the end of the resumed run, if any."""
    if report.summary is not None:
        text = format_text(report.summary, reason=report.reason, policy=report.policy)
    else:
        suffix = f": {' '.join(report.reason.split())}" if report.reason else ""
        text = f"asyncgg {report.policy}: {report.state}{suffix}"
    if report.resumed is None or report.resumed.summary is None:
        return text
    return f"{text}; before that, {format_text(report.resumed.summary, policy='resumed run')}"
