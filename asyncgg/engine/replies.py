"""Rule: a reply in the words that guards, events and the journal keep of it; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from asyncgg.aggregator import Settlement
from asyncgg.classify import code_and_message
from asyncgg.errors import redacted
from asyncgg.journal import Answer
from asyncgg.model import Accepted, Refused, Reply, Unanswered

__all__ = ["answer", "fit_to_keep", "words"]

_LONGEST: Final = 1000
"""Characters kept of a code or a message."""


def fit_to_keep(reply: Reply) -> Reply:
    """`reply` with codes and messages that may go anywhere: no session token, one line, nothing that steers a terminal,
    1,000 characters at most. Ordinary ones stay word for word."""
    if isinstance(reply, Refused):
        return replace(reply, code=_fit(reply.code), message=_fit(reply.message))
    if isinstance(reply, Unanswered):
        return replace(reply, detail=_fit(reply.detail))
    if not reply.errors:
        return reply
    errors = (replace(error, code=_fit(error.code), message=_fit(error.message)) for error in reply.errors)
    return Accepted(tuple(errors), reply.request_id)


def _fit(text: str) -> str:
    text = redacted(text)
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))


def words(reply: Reply) -> str:
    """Code and message of a failure as one phrase; empty for an accepted request."""
    return ": ".join(word for word in code_and_message(reply) if word)


def answer(reply: Reply, settlement: Settlement, at: float, seconds: float) -> Answer:
    """What the journal keeps of `reply`, which came `at` (seconds since 1970), `seconds` after its request went out."""
    said = code_and_message(reply)[0]
    if isinstance(reply, Unanswered):
        return Answer(at, settlement.verdict.value, None, said, "", at - seconds)
    status = reply.status if isinstance(reply, Refused) else 200
    return Answer(at, settlement.verdict.value, status, said, reply.request_id, at - seconds)
