"""Sends requests with the aiobotocore client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from asyncgg.models import Operation
from asyncgg.transport.client import OpenClient, open_client
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.responses import HttpResponse
from asyncgg.transport.session import SERVICE, NoRedirectSession, RedirectRefusedError
from asyncgg.transport.signed_base import BaseTransport, Phase, RequestTrace, current_trace


class SdkTransport(BaseTransport):
    """Sends with an open aiobotocore client; use `open_transport` to create one."""

    def __init__(self, sdk_client: OpenClient, request_timeout: float, operation: Operation) -> None:
        super().__init__(sdk_client.source, sdk_client.endpoint, request_timeout)
        self._send_batch = sdk_client.method_for(operation)
        self._client = sdk_client.client

    async def _post(self, trace: RequestTrace, core: str, things: Sequence[str]) -> None:
        await self._send_batch(coreDeviceThingName=core, entries=[{"thingName": thing} for thing in things])

    async def _get(self, trace: RequestTrace, core: str | None, parameters: Mapping[str, str]) -> None:
        if core is None:
            await self._client.list_core_devices(**parameters)
        else:
            await self._client.list_client_devices_associated_with_core_device(coreDeviceThingName=core, **parameters)


@asynccontextmanager
async def open_sdk_transport(
    connection: ConnectionConfig, operation: Operation = Operation.DISASSOCIATE
) -> AsyncIterator[SdkTransport]:
    """See `open_transport`."""
    async with open_client(connection, TracingSession) as sdk_client:
        sdk_client.client.meta.events.register(f"before-parse.{SERVICE}", _capture_response)
        yield SdkTransport(sdk_client, connection.request_timeout, operation)


def _capture_response(response_dict: dict[str, Any], **_: Any) -> None:
    """Keep the raw response and leave botocore an empty one, because its result is not used."""
    current_trace.get(RequestTrace()).response = HttpResponse(
        response_dict["status_code"], response_dict["headers"], response_dict["body"]
    )
    response_dict["headers"], response_dict["body"] = {}, b"{}"


class TracingSession(NoRedirectSession):
    """An HTTP session that also updates `current_trace`, which gets the response of a redirect."""

    # aiobotocore reports a reset connection like one that was never established, but the trace
    # shows the difference.

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        current_trace.get(RequestTrace()).phase = Phase.HANDED_OVER
        return session

    def _trace_config(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_start.append(_on_request_start)
        config.on_request_headers_sent.append(_on_headers_sent)
        config.on_request_redirect.append(_on_redirect)
        return config


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
