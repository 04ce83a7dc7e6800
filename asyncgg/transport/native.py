"""Sends requests that asyncgg signs itself; exists only to save CPU time."""

# A request costs 0.17 ms of CPU time here and 1.6 ms through the aiobotocore client, which builds,
# validates and serializes every one. The client is used once, to configure this transport. `sdk`
# does the same without this file, request_template.py and signing.py.

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any, Final

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from botocore import exceptions as aws
from botocore.awsrequest import AWSPreparedRequest
from yarl import URL

from asyncgg.errors import InternalError, UsageError
from asyncgg.formatting import sanitize
from asyncgg.models import Accepted, ErrorResponse, Operation
from asyncgg.transport.client import OpenClient, open_client
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.request_template import (
    PLACEHOLDER,
    RequestTemplate,
    encode_body,
    encode_query,
    from_signed_request,
)
from asyncgg.transport.responses import HttpResponse
from asyncgg.transport.session import SharedTlsSession
from asyncgg.transport.signed_base import BaseTransport, Phase, RequestTrace, current_trace
from asyncgg.transport.signing import REQUEST_EXPIRED, clock_offset, sign

_EMPTY_SUCCESS_BODIES: Final = frozenset({b'{"errorEntries":[]}', b'{"errorEntries": []}', b"{}"})


class NativeTransport(BaseTransport):
    """Sends requests that it signs itself; use `open_transport` to create one."""

    def __init__(
        self,
        sdk_client: OpenClient,
        batch_template: RequestTemplate,
        list_template: RequestTemplate,
        http: HttpEndpoint,
        request_timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sdk_client.source, sdk_client.endpoint, request_timeout, clock)
        self._batch_template = batch_template
        self._list_template = list_template
        self._http = http
        self._clock_offset = 0.0
        self._clock_corrected = False

    async def refresh(self) -> None:
        """See `Refreshable.refresh`; keeps the credentials if only the clock was wrong."""
        if self._clock_corrected:
            self._clock_corrected = False
            return
        await super().refresh()

    async def _post(self, trace: RequestTrace, core: str, things: Sequence[str]) -> Accepted | None:
        template = self._batch_template
        response, content = await self._send(trace, template, "POST", template.path(core), body=encode_body(things))
        # The most frequent response needs neither a JSON parser nor a mapping of its headers.
        if response.status == 200 and content in _EMPTY_SUCCESS_BODIES:
            return Accepted((), response.headers.get("x-amzn-RequestId", ""))
        trace.response = _to_http_response(response, content)
        return None

    async def _get(self, trace: RequestTrace, core: str | None, parameters: Mapping[str, str]) -> None:
        template = self._list_template
        path = template.cores_path if core is None else template.path(core)
        trace.response = _to_http_response(*await self._send(trace, template, "GET", path, encode_query(parameters)))

    async def _send(
        self, trace: RequestTrace, template: RequestTemplate, method: str, path: str, query: str = "", body: bytes = b""
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        credentials = await self._source.get_frozen_credentials()
        trace.clock_offset = self._clock_offset
        date = self._clock() + trace.clock_offset
        signature_headers = sign(
            credentials, template.region, template.service, method, path, template.signed_headers, body, date, query
        )
        headers = {**template.unsigned_headers, **template.signed_headers, **signature_headers}
        trace.phase = Phase.HANDED_OVER
        try:
            result = await self._http.request(method, path, query, headers, body or None)
        except Exception as error:
            # As in aiobotocore: every exception of the HTTP client, and none of asyncgg.
            raise aws.HTTPClientError(error=error) from error
        if trace.phase is Phase.CONNECTING:
            raise InternalError("this version of aiohttp writes requests in an unknown way; use --transport sdk")
        return result

    def _on_auth_error(self, reply: ErrorResponse, trace: RequestTrace, generation: int) -> ErrorResponse:
        """Correct the clock if it caused the rejection."""
        # One call is one request, so the rejected request is not repeated here. On `RequestExpired`
        # the engine calls `refresh`, which then does nothing, and sends the same things again at
        # once without counting an attempt.
        headers = trace.response.headers if trace.response else {}
        offset = clock_offset(reply, headers, self._clock(), trace.clock_offset)
        if offset is None:
            return super()._on_auth_error(reply, trace, generation)
        if trace.clock_offset == self._clock_offset:  # otherwise another response has corrected it meanwhile
            self._clock_offset, self._clock_corrected = offset, True
        direction = "behind" if offset > 0 else "ahead of"
        message = f"{reply.code}: {reply.message}; the local clock is {abs(offset):.0f} s {direction} the service's"
        return ErrorResponse(reply.status, REQUEST_EXPIRED, f"{message}, corrected for this run", reply.request_id)


def _to_http_response(response: aiohttp.ClientResponse, content: bytes) -> HttpResponse:
    headers = {name.decode().lower(): value.decode("utf-8", "replace") for name, value in response.raw_headers}
    return HttpResponse(response.status, headers, content)


@asynccontextmanager
async def open_native_transport(
    connection: ConnectionConfig,
    operation: Operation = Operation.DISASSOCIATE,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[NativeTransport]:
    """See `open_transport`."""
    async with open_client(connection, CapturingSession) as sdk_client:
        session = _checked_session(sdk_client.client)
        core_argument = {"coreDeviceThingName": PLACEHOLDER}
        try:
            await sdk_client.client.list_client_devices_associated_with_core_device(**core_argument)
            list_template = session.captured_template()
            await sdk_client.method_for(operation)(**core_argument, entries=[{"thingName": PLACEHOLDER}])
            batch_template = session.captured_template()
            http = await session.endpoint_for(session.captured_request.url)
        except (ValueError, aws.BotoCoreError) as error:
            raise UsageError(f"cannot use --transport native: {sanitize(error)}; use --transport sdk") from None
        yield NativeTransport(sdk_client, batch_template, list_template, http, connection.request_timeout, clock)


class IncompatibleLibraryError(InternalError):
    """This version of aiobotocore or aiohttp has not the private interfaces that `native` uses."""


# Not part of the API of aiobotocore: another version may differ.
_SESSION_INTERFACES: Final = (
    "_create_connector",
    "_proxy_config.proxy_url_for",
    "_proxy_config.proxy_headers_for",
    "_exit_stack.enter_async_context",
    "_timeout.sock_connect",
)


def _checked_session(client: Any) -> CapturingSession:
    """The session of `client`, before anything is sent. Raises `IncompatibleLibraryError`."""
    try:
        session = client._endpoint.http_session
        for name in _SESSION_INTERFACES:
            attrgetter(name)(session)
        inspect.signature(session._create_connector).bind(None)
        if not (isinstance(session, CapturingSession) and inspect.iscoroutinefunction(aiohttp.ClientRequest.send)):
            raise TypeError("another HTTP session or request class is used")
    except (AttributeError, TypeError) as error:
        raise IncompatibleLibraryError(str(error)) from None
    return session


class CapturingSession(SharedTlsSession):
    """Captures the requests of the client and opens an HTTP session of the same configuration.

    The client configures TLS, CA bundle, client certificate, proxy, connection limit and timeouts.
    """

    captured_request: AWSPreparedRequest

    async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
        """Capture the request and return an empty success to the client."""
        self.captured_request = request
        return AioAWSResponse(request.url, 200, {}, _EmptyBody())

    def captured_template(self) -> RequestTemplate:
        """Convert the captured request. Raises ValueError as `from_signed_request`."""
        return from_signed_request(self.captured_request.url, dict(self.captured_request.headers.items()))

    async def endpoint_for(self, url: str) -> HttpEndpoint:
        """Open the connection pool for the host of `url`, through its proxy if there is one.

        Raises `ValueError` if the URL of the proxy is unusable.
        """
        proxy = self._proxy_config.proxy_url_for(url)
        session = await self._get_session(proxy)
        return HttpEndpoint(session, URL(url), URL(proxy) if proxy else None, self._proxy_config.proxy_headers_for(url))

    async def _get_session(self, proxy_url: str | None) -> Any:
        connector = self._create_connector(proxy_url)
        if inspect.isawaitable(connector):  # since aiobotocore 3.8
            connector = await connector
        return await self._exit_stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                # `send` limits the whole request. A read timeout would cost a timer per packet.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.sock_connect),
                request_class=_TracedRequest,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        )


class HttpEndpoint:
    """Sends requests to the host of `url`."""

    def __init__(
        self, session: aiohttp.ClientSession, url: URL, proxy: URL | None, proxy_headers: Mapping[str, str]
    ) -> None:
        self._session = session
        self._url = url
        self._proxy = proxy
        self._proxy_headers = proxy_headers

    async def request(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """Send one request and read the whole body; redirects are not followed.

        `path` and `query` must be encoded.
        """
        if query:  # `with_query` would encode it again
            url = URL.build(
                scheme=self._url.scheme, authority=self._url.authority, path=path, query_string=query, encoded=True
            )
        else:
            url = self._url.with_path(path, encoded=True)  # 0.8 microseconds; parsing a whole URL takes 2.2
        response = await self._session.request(
            method,
            url,
            headers=headers,
            data=None if body is None else aiohttp.BytesPayload(body),  # spares the search for its kind
            allow_redirects=False,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        )
        return response, await response.read()


class _TracedRequest(aiohttp.ClientRequest):
    """A request that updates `current_trace`; trace hooks of aiohttp cost 12 microseconds more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        current_trace.get(RequestTrace()).phase = Phase.CONNECTING

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Write the request to the connection."""
        current_trace.get(RequestTrace()).phase = Phase.WRITTEN
        return await super().send(conn)


class _EmptyBody:
    async def read(self) -> bytes:
        return b"{}"
