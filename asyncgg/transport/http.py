"""Rule: what aiobotocore's HTTP session does not do by itself lives here: watch one exchange, and follow no redirect.

aiohttp would follow a redirect to another host with the session token in its headers, and turn a POST into a GET whose
200 says nothing about the things; and aiobotocore reports a reset connection as one that was never made.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from asyncgg.transport.answer import Answer

__all__ = ["EXCHANGE", "Exchange", "Phase", "WatchedSession"]


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

    __slots__ = ("answer", "phase")

    def __init__(self) -> None:
        self.phase = Phase.PREPARED
        self.answer: Answer | None = None

    @property
    def perhaps_sent(self) -> bool:
        """False only when it is certain that no byte of the request left this machine."""
        return self.phase in {Phase.HANDED_OVER, Phase.WRITTEN}


EXCHANGE: ContextVar[Exchange] = ContextVar("asyncgg_exchange")
"""The exchange of the running `send`: the hooks of botocore and aiohttp are called in its task but are not given it."""


class RedirectRefusedError(Exception):
    """Ends a call that was answered with a redirect; the exchange holds the answer."""


async def _connecting(_session: object, _context: object, _params: object) -> None:
    EXCHANGE.get(Exchange()).phase = Phase.CONNECTING


async def _writing(_session: object, _context: object, _params: object) -> None:
    EXCHANGE.get(Exchange()).phase = Phase.WRITTEN


async def _redirected(_session: object, _context: object, params: aiohttp.TraceRequestRedirectParams) -> None:
    response = params.response
    headers = {name.lower(): value for name, value in response.headers.items()}
    EXCHANGE.get(Exchange()).answer = Answer(response.status, headers, b"")
    response.close()
    raise RedirectRefusedError(f"HTTP {response.status}")


def _watch() -> aiohttp.TraceConfig:
    watch = aiohttp.TraceConfig()
    watch.on_request_start.append(_connecting)
    watch.on_request_headers_sent.append(_writing)
    watch.on_request_redirect.append(_redirected)
    watch.freeze()
    return watch


class WatchedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore publishes no types
    """aiobotocore's HTTP session whose requests report to `EXCHANGE`."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        if not session.trace_configs:
            session.trace_configs.append(_watch())
        EXCHANGE.get(Exchange()).phase = Phase.HANDED_OVER
        return session
