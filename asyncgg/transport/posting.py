"""Rule: the HTTP of the fast transport lives here: an HTTP session that the aiobotocore client makes but never uses.

The client gives it what the user configured (TLS, CA bundle, client certificate, proxy, connection limit, timeouts);
then we send through it ourselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest
from yarl import URL

from asyncgg.transport.trace import Phase, RequestTrace, current_trace

__all__ = ["CapturingSession", "HttpEndpoint"]


class CapturingSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore publishes no types
    """Keeps the request that the client wants to send, and lets others be sent instead."""

    captured_request: AWSPreparedRequest | None = None

    async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
        """Be asked by the client to send, keep the request back, and pretend a success."""
        self.captured_request = request
        return AioAWSResponse(request.url, 200, {}, _EmptyBody())

    async def endpoint_for(self, url: str) -> HttpEndpoint:
        """The way to the host of `url`, with the proxy for it, if there is one.

        Raises ValueError when the proxy's URL cannot be used.
        """
        proxy = self._proxy_config.proxy_url_for(url)
        session = await self._get_session(proxy)
        return HttpEndpoint(session, URL(url), URL(proxy) if proxy else None, self._proxy_config.proxy_headers_for(url))

    async def _get_session(self, proxy_url: str | None) -> Any:
        connector = await self._create_connector(proxy_url)
        return await self._exit_stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                # The limit on the whole request is `send`'s own. A second one on reading would cost a timer per packet.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.sock_connect),
                request_class=_TracedRequest,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        )


class HttpEndpoint:
    """Sends to the host of `url`. One call is one request, no redirect is followed; paths and queries are encoded."""

    __slots__ = ("_proxy", "_proxy_headers", "_session", "_url")

    def __init__(
        self, session: aiohttp.ClientSession, url: URL, proxy: URL | None, proxy_headers: Mapping[str, str]
    ) -> None:
        self._session = session
        self._url = url
        self._proxy = proxy
        self._proxy_headers = proxy_headers

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[aiohttp.ClientResponse, bytes]:
        """The answer and its whole body."""
        # 0.8 microseconds; parsing a whole URL takes 2.2
        return await self._send("POST", self._url.with_path(path, encoded=True), headers, body)

    async def get(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[aiohttp.ClientResponse, bytes]:
        """The answer and its whole body."""
        url = URL.build(
            scheme=self._url.scheme, authority=self._url.authority, path=path, query_string=query, encoded=True
        )
        return await self._send("GET", url, headers, None)

    async def _send(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        response = await self._session.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        )
        return response, await response.read()


class _TracedRequest(aiohttp.ClientRequest):
    """aiohttp's request that reports to `current_trace`; its trace hooks do the same for 12 microseconds more a request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        current_trace.get(RequestTrace()).phase = Phase.CONNECTING

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Be given a connection and write."""
        current_trace.get(RequestTrace()).phase = Phase.WRITTEN
        return await super().send(conn)


class _EmptyBody:
    """The body of the pretended success."""

    async def read(self) -> bytes:
        return b"{}"
