"""Notifies webhooks and SNS topics of the end of a run."""

from asyncgg.notify.delivery import TOTAL_SECONDS, notify
from asyncgg.notify.message import Message, NotificationEvent, event_for_state, format_text
from asyncgg.notify.targets import NotificationTarget, SnsTopic, Webhook, parse_target, resolve_headers

__all__ = [
    "TOTAL_SECONDS",
    "Message",
    "NotificationEvent",
    "NotificationTarget",
    "SnsTopic",
    "Webhook",
    "event_for_state",
    "format_text",
    "notify",
    "parse_target",
    "resolve_headers",
]
