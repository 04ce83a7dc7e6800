"""Rule: what is observed of one request while it is under way lives here; who observes, and how, does not."""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum

from asyncgg.transport.responses import HttpResponse

__all__ = ["Phase", "RequestTrace", "current_trace"]


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


class RequestTrace:
    """What is observed of one request while it is under way."""

    __slots__ = ("clock_offset", "phase", "response")

    def __init__(self) -> None:
        self.phase = Phase.PREPARED
        self.response: HttpResponse | None = None
        self.clock_offset = 0.0
        """Seconds added to this machine's clock for the request's date."""

    @property
    def may_have_been_sent(self) -> bool:
        """False only when it is certain that no byte of the request left this machine."""
        return self.phase in {Phase.HANDED_OVER, Phase.WRITTEN}


current_trace: ContextVar[RequestTrace] = ContextVar("asyncgg_current_trace")
"""The exchange of the running `send`: the hooks of botocore and aiohttp are called in its task but are not given it."""
