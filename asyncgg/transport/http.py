"""Rule: what aiobotocore's HTTP session does not do by itself lives here: watch one exchange, and follow no redirect.

aiohttp would follow a redirect to another host with the session token in its headers, and turn a POST into a GET whose
200 says nothing about the things; and aiobotocore reports a reset connection as one that was never made.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from asyncgg.transport.answer import Answer
from asyncgg.transport.exchange import EXCHANGE, Exchange, Phase

__all__ = ["WatchedSession"]


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
