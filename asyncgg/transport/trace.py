"""Records how far one request has got."""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum

from asyncgg.transport.responses import HttpResponse


class Phase(Enum):
    """How far one request has got."""

    PREPARED = "prepared"
    """Being built and signed; the first request also builds the TLS context."""
    HANDED_OVER = "handed over"
    """Passed to the HTTP client; its progress is unknown."""
    CONNECTING = "connecting"
    """Waiting for a connection; nothing was written."""
    WRITTEN = "written"
    """Written or about to be written: the service may have received it."""


class RequestTrace:
    """The progress and the response of one request."""

    __slots__ = ("clock_offset", "phase", "response")

    def __init__(self) -> None:
        self.phase = Phase.PREPARED
        self.response: HttpResponse | None = None
        self.clock_offset = 0.0
        """Seconds added to the local clock for the date of the request."""

    @property
    def may_have_been_sent(self) -> bool:
        """False only if it is certain that no byte of the request left this machine."""
        return self.phase in {Phase.HANDED_OVER, Phase.WRITTEN}


current_trace: ContextVar[RequestTrace] = ContextVar("asyncgg_current_trace")
"""The trace of the current task, for hooks of botocore and aiohttp."""
