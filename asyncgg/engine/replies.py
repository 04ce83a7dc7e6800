"""Replies in the form that messages, events and the journal use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, overload

from asyncgg.aggregator import BatchResult
from asyncgg.classify import ReplyVerdict, code_and_message
from asyncgg.errors import redact_secrets
from asyncgg.events import RequestFinished
from asyncgg.journal import RecordedReply
from asyncgg.models import Accepted, ErrorResponse, NoResponse, Reply

_MAX_TEXT: Final = 1000
"""Maximum characters of a code or message."""


@overload
def sanitize_reply(reply: Accepted) -> Accepted: ...
@overload
def sanitize_reply(reply: ErrorResponse | NoResponse) -> ErrorResponse | NoResponse: ...
def sanitize_reply(reply: Reply) -> Reply:
    """`reply` with codes and messages that are safe to show and store.

    They have no session token, no control characters, one line and at most 1,000 characters.
    """
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
    """Code and message of a failed request in one phrase; empty for an accepted one."""
    return ": ".join(part for part in code_and_message(reply) if part)


def to_record(reply: Reply, result: BatchResult, at: float, seconds: float) -> RecordedReply:
    """The journal's record of a reply received `at` (Unix time), after `seconds`."""
    code = code_and_message(reply)[0]
    if isinstance(reply, NoResponse):
        return RecordedReply(at, result.verdict.value, None, code, "", at - seconds)
    status = reply.status if isinstance(reply, ErrorResponse) else 200
    return RecordedReply(at, result.verdict.value, status, code, reply.request_id, at - seconds)


class RequestLabel(NamedTuple):
    """What identifies a request in its event."""

    operation: str
    attempts: Sequence[int] = (0,)
    """Earlier attempts of its things."""
    batch: int = 0


def to_event(
    label: RequestLabel, core: str, things: int, reply: Any, verdict: ReplyVerdict, seconds: float
) -> RequestFinished:
    """The event of a request; `reply` can also be a page of a list."""
    code, message = code_and_message(reply)
    return RequestFinished(
        operation=label.operation,
        core=core,
        things=things,
        batch=label.batch,
        attempt=max(label.attempts) + 1,
        verdict=verdict.value,
        status=None if isinstance(reply, NoResponse) else getattr(reply, "status", 200),
        code=code,
        message=message,
        request_id=getattr(reply, "request_id", ""),
        failed_things=len(reply.errors) if isinstance(reply, Accepted) else 0,
        finished_at=time.time(),
        seconds=seconds,
    )
