"""Rule: what is observed of one request while it is under way lives here; who observes, and how, does not."""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum

from asyncgg.transport.answer import Answer

__all__ = ["EXCHANGE", "Exchange", "Phase"]


class Phase(Enum):
    """How far one request went."""

    PREPARED = "prepared"
    """Being built and signed; the TLS context too, once."""
    HANDED_OVER = "handed over"
    """With the HTTP client; nothing is known of it."""
    CONNECTING = "connecting"
    """Waiting for a connection; no byte of it was written."""
    WRITTEN = "written"
    """About to be written, or written: the service may have it."""


class Exchange:
    """What is observed of one request while it is under way."""

    __slots__ = ("answer", "offset", "phase")

    def __init__(self) -> None:
        self.phase = Phase.PREPARED
        self.answer: Answer | None = None
        self.offset = 0.0
        """Seconds added to this machine's clock for the request's date."""

    @property
    def perhaps_sent(self) -> bool:
        """False only when it is certain that no byte of the request left this machine."""
        return self.phase in {Phase.HANDED_OVER, Phase.WRITTEN}


EXCHANGE: ContextVar[Exchange] = ContextVar("asyncgg_exchange")
"""The exchange of the running `send`: the hooks of botocore and aiohttp are called in its task but are not given it."""
