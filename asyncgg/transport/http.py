"""Rule: what aiobotocore's HTTP session does not do by itself lives here: watch one exchange, and follow no redirect.

aiohttp would follow a redirect to another host with the session token in its headers, and turn a POST into a GET whose
200 says nothing about the things; and aiobotocore reports a reset connection as one that was never made.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from asyncgg.transport.responses import HttpResponse
from asyncgg.transport.trace import Phase, RequestTrace, current_trace

__all__ = ["TracingSession"]


class RedirectRefusedError(Exception):
    """Ends a call that was answered with a redirect; the exchange holds the answer."""


async def _on_request_start(_session: object, _context: object, _params: object) -> None:
    current_trace.get(RequestTrace()).phase = Phase.CONNECTING


async def _on_headers_sent(_session: object, _context: object, _params: object) -> None:
    current_trace.get(RequestTrace()).phase = Phase.WRITTEN


async def _on_redirect(_session: object, _context: object, params: aiohttp.TraceRequestRedirectParams) -> None:
    response = params.response
    headers = {name.lower(): value for name, value in response.headers.items()}
    current_trace.get(RequestTrace()).response = HttpResponse(response.status, headers, b"")
    response.close()
    raise RedirectRefusedError(f"HTTP {response.status}")


def _trace_config() -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()
    config.on_request_start.append(_on_request_start)
    config.on_request_headers_sent.append(_on_headers_sent)
    config.on_request_redirect.append(_on_redirect)
    config.freeze()
    return config


class TracingSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore publishes no types
    """aiobotocore's HTTP session whose requests report to `current_trace`."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        if not session.trace_configs:
            session.trace_configs.append(_trace_config())
        current_trace.get(RequestTrace()).phase = Phase.HANDED_OVER
        return session
