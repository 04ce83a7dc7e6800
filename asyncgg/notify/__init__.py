"""Telling people how a run ended: a webhook, an SNS topic. What fails here never fails the run.

Rule: the names the rest of asyncgg may use of notifications are listed here; nothing is defined here.
"""

from asyncgg.notify.message import Message, Occasion, occasion_of, text_of
from asyncgg.notify.sending import TOTAL_SECONDS, notify
from asyncgg.notify.targets import Target, Topic, Webhook, parse_target, secret_headers

__all__ = [
    "TOTAL_SECONDS",
    "Message",
    "Occasion",
    "Target",
    "Topic",
    "Webhook",
    "notify",
    "occasion_of",
    "parse_target",
    "secret_headers",
    "text_of",
]
