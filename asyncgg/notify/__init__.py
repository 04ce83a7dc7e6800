"""Telling people how a run ended: a webhook, an SNS topic. What fails here never fails the run.

Rule: the names the rest of asyncgg may use of notifications are listed here; nothing is defined here.
"""

from asyncgg.notify.message import Message, NotificationEvent, event_for_state, format_text
from asyncgg.notify.sending import TOTAL_SECONDS, notify
from asyncgg.notify.targets import NotificationTarget, SnsTopic, Webhook, parse_target, resolve_headers

__all__ = [
    "TOTAL_SECONDS",
    "Message",
    "NotificationEvent",
    "NotificationTarget",
    "SnsTopic",
    "Webhook",
    "notify",
    "event_for_state",
    "parse_target",
    "resolve_headers",
    "format_text",
]
