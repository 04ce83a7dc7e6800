"""Rule: a reply in the words that guards, events and the journal keep of it; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from asyncgg.aggregator import BatchResult
from asyncgg.classify import code_and_message
from asyncgg.errors import redact_secrets
from asyncgg.journal import RecordedReply
from asyncgg.models import Accepted, ErrorResponse, NoResponse, Reply

__all__ = ["describe_failure", "sanitize_reply", "to_record"]

_MAX_TEXT: Final = 1000
"""Characters kept of a code or a message."""


def sanitize_reply(reply: Reply) -> Reply:
    """`reply` with codes and messages that may go anywhere: no session token, one line, nothing that steers a terminal,
    1,000 characters at most. Ordinary ones stay word for word."""
    if isinstance(reply, ErrorResponse):
        return replace(reply, code=_sanitize(reply.code), message=_sanitize(reply.message))
    if isinstance(reply, NoResponse):
        return replace(reply, detail=_sanitize(reply.detail))
    if not reply.errors:
        return reply
    errors = (replace(error, code=_sanitize(error.code), message=_sanitize(error.message)) for error in reply.errors)
    return Accepted(tuple(errors), reply.request_id)


def _sanitize(text: str) -> str:
    text = redact_secrets(text)
    if len(text) > _MAX_TEXT:
        text = text[: _MAX_TEXT - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))


def describe_failure(reply: Reply) -> str:
    """Code and message of a failure as one phrase; empty for an accepted request."""
    return ": ".join(word for word in code_and_message(reply) if word)


def to_record(reply: Reply, result: BatchResult, at: float, seconds: float) -> RecordedReply:
    """What the journal keeps of `reply`, which came `at` (seconds since 1970), `seconds` after its request went out."""
    code = code_and_message(reply)[0]
    if isinstance(reply, NoResponse):
        return RecordedReply(at, result.verdict.value, None, code, "", at - seconds)
    status = reply.status if isinstance(reply, ErrorResponse) else 200
    return RecordedReply(at, result.verdict.value, status, code, reply.request_id, at - seconds)
