"""Rule: the transport through the aiobotocore client lives here; no exception of botocore or aiohttp leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from asyncgg.models import Operation
from asyncgg.transport.client import OpenClient, open_client
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.http import TracingSession
from asyncgg.transport.responses import HttpResponse
from asyncgg.transport.session import SERVICE
from asyncgg.transport.signed_base import BaseTransport
from asyncgg.transport.trace import RequestTrace, current_trace

__all__ = ["SdkTransport", "open_sdk_transport"]


class SdkTransport(BaseTransport):
    """Sends through an open aiobotocore client; made by `open_transport`."""

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


def _capture_response(response_dict: dict[str, Any], **_: Any) -> None:
    """Keep the raw answer, and spare botocore the reading of it: its own would not be used, and costs time."""
    current_trace.get(RequestTrace()).response = HttpResponse(
        response_dict["status_code"], response_dict["headers"], response_dict["body"]
    )
    response_dict["headers"], response_dict["body"] = {}, b"{}"


@asynccontextmanager
async def open_sdk_transport(
    connection: ConnectionConfig, operation: Operation = Operation.DISASSOCIATE
) -> AsyncIterator[SdkTransport]:
    """See `open_transport`."""
    async with open_client(connection, TracingSession) as sdk_client:
        sdk_client.client.meta.events.register(f"before-parse.{SERVICE}", _capture_response)
        yield SdkTransport(sdk_client, connection.request_timeout, operation)
