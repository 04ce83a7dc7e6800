"""Rule: the transport that signs and sends by itself lives here: the aiobotocore client configures it once, at opening.

What the SDK does anew in each call (building, validating, serializing, hooks, user agent) is done once or not at all.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from botocore import exceptions as aws

from asyncgg.errors import CredentialsError, InternalError, UsageError
from asyncgg.models import Accepted, ErrorResponse, Operation
from asyncgg.transport.client import OpenClient, open_client
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.credentials import SourceUnreachableError
from asyncgg.transport.failures import sanitize
from asyncgg.transport.posting import CapturingSession, HttpEndpoint
from asyncgg.transport.request_template import (
    PLACEHOLDER,
    RequestTemplate,
    encode_body,
    encode_query,
    from_signed_request,
)
from asyncgg.transport.responses import HttpResponse
from asyncgg.transport.signed_base import BaseTransport
from asyncgg.transport.signing import sign
from asyncgg.transport.skew import REQUEST_EXPIRED, clock_offset
from asyncgg.transport.trace import Phase, RequestTrace

__all__ = ["NativeTransport", "open_native_transport"]

_EMPTY_SUCCESS_BODIES: Final = frozenset({b'{"errorEntries":[]}', b'{"errorEntries": []}', b"{}"})

PendingResponse = Coroutine[Any, Any, tuple[aiohttp.ClientResponse, bytes]]


class NativeTransport(BaseTransport):
    """Sends requests that it signs itself; made by `open_transport`. `clock` gives seconds since 1970."""

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
        """See `Refreshable.refresh`; after a refusal for the clock alone the credentials are kept."""
        if self._clock_corrected:
            self._clock_corrected = False
            return
        await super().refresh()

    async def _post(self, trace: RequestTrace, core: str, things: Sequence[str]) -> Accepted | None:
        credentials = await self._source.get_frozen_credentials()
        template = self._batch_template
        path, body = template.path(core), encode_body(things)
        trace.clock_offset = self._clock_offset
        signature_headers = sign(
            credentials,
            template.region,
            template.service,
            "POST",
            path,
            template.signed_headers,
            body,
            self._clock() + trace.clock_offset,
        )
        pending = self._http.post(
            path, {**template.unsigned_headers, **template.signed_headers, **signature_headers}, body
        )
        response, content = await self._send(trace, pending)
        # The plain success, by far the most frequent answer, needs neither JSON nor a mapping of the headers.
        if response.status == 200 and content in _EMPTY_SUCCESS_BODIES:
            return Accepted((), response.headers.get("x-amzn-RequestId", ""))
        trace.response = _to_http_response(response, content)
        return None

    async def _get(self, trace: RequestTrace, core: str | None, parameters: Mapping[str, str]) -> None:
        credentials = await self._source.get_frozen_credentials()
        template = self._list_template
        path, query = template.cores_path if core is None else template.path(core), encode_query(parameters)
        trace.clock_offset = self._clock_offset
        date = self._clock() + trace.clock_offset
        signature_headers = sign(
            credentials, template.region, template.service, "GET", path, template.signed_headers, b"", date, query
        )
        pending = self._http.get(
            path, query, {**template.unsigned_headers, **template.signed_headers, **signature_headers}
        )
        trace.response = _to_http_response(*await self._send(trace, pending))

    async def _send(self, trace: RequestTrace, pending: PendingResponse) -> tuple[aiohttp.ClientResponse, bytes]:
        trace.phase = Phase.HANDED_OVER
        try:
            result = await pending
        except Exception as error:
            # As aiobotocore does it: from here on whatever is raised is the HTTP client's, and none of our own faults.
            raise aws.HTTPClientError(error=error) from error
        if trace.phase is Phase.CONNECTING:
            raise InternalError("aiohttp writes requests in a way unknown to asyncgg; use the transport `sdk`")
        return result

    def _on_auth_error(self, reply: ErrorResponse, trace: RequestTrace, generation: int) -> ErrorResponse:
        """Correct the clock where that was the reason; otherwise as for every transport.

        One call is one request, so the refused one is not sent again here. `RequestExpired` leads the engine to ask for
        a refresh, which is then none, and to send the same things again at once, at no attempt's cost.
        """
        headers = trace.response.headers if trace.response else {}
        offset = clock_offset(reply, headers, self._clock(), trace.clock_offset)
        if offset is None:
            return super()._on_auth_error(reply, trace, generation)
        if trace.clock_offset == self._clock_offset:  # otherwise another request's answer has corrected it meanwhile
            self._clock_offset, self._clock_corrected = offset, True
        message = f"{reply.code}: {reply.message}; this machine's clock is {abs(offset):.0f} s {_direction(offset)}"
        return ErrorResponse(reply.status, REQUEST_EXPIRED, f"{message}, corrected for this run", reply.request_id)


def _to_http_response(response: aiohttp.ClientResponse, content: bytes) -> HttpResponse:
    headers = {name.decode().lower(): value.decode("utf-8", "replace") for name, value in response.raw_headers}
    return HttpResponse(response.status, headers, content)


def _direction(offset: float) -> str:
    return "behind the service's" if offset > 0 else "ahead of the service's"


@asynccontextmanager
async def open_native_transport(
    connection: ConnectionConfig,
    operation: Operation = Operation.DISASSOCIATE,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[NativeTransport]:
    """See `open_transport`."""
    async with open_client(connection, CapturingSession) as sdk_client:
        session = sdk_client.client._endpoint.http_session
        core_argument = {"coreDeviceThingName": PLACEHOLDER}
        try:
            await sdk_client.client.list_client_devices_associated_with_core_device(**core_argument)
            list_template = from_signed_request(
                session.captured_request.url, dict(session.captured_request.headers.items())
            )
            await sdk_client.method_for(operation)(**core_argument, entries=[{"thingName": PLACEHOLDER}])
            batch_template = from_signed_request(
                session.captured_request.url, dict(session.captured_request.headers.items())
            )
            http = await session.endpoint_for(session.captured_request.url)
        except SourceUnreachableError as error:
            raise CredentialsError(f"no AWS credentials: {error}") from None
        except (ValueError, aws.BotoCoreError) as error:
            raise UsageError(f"the transport `native` cannot be used here: {sanitize(error)}; use `sdk`") from None
        yield NativeTransport(sdk_client, batch_template, list_template, http, connection.request_timeout, clock)
