"""Rule: a reply in the words that guards, events and the journal keep of it; pure."""

from __future__ import annotations

from asyncgg.aggregator import Settlement
from asyncgg.journal import Answer
from asyncgg.model import Refused, Reply, Unanswered

__all__ = ["answer", "code", "words"]


def code(reply: Reply) -> tuple[str, str]:
    """Code and message of a failure; both empty for an accepted request."""
    if isinstance(reply, Refused):
        return reply.code or str(reply.status), reply.message
    if isinstance(reply, Unanswered):
        return reply.kind, reply.detail
    return "", ""


def words(reply: Reply) -> str:
    """The same as one phrase."""
    return ": ".join(word for word in code(reply) if word)


def answer(reply: Reply, settlement: Settlement, at: float) -> Answer:
    """What the journal keeps of `reply`, which came `at` (seconds since 1970)."""
    said = code(reply)[0]
    if isinstance(reply, Unanswered):
        return Answer(at, settlement.verdict.value, None, said, "")
    status = reply.status if isinstance(reply, Refused) else 200
    return Answer(at, settlement.verdict.value, status, said, reply.request_id)
