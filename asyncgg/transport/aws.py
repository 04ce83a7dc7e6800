"""Rule: the transport through the aiobotocore client lives here; no exception of botocore or aiohttp leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from asyncgg.model import Operation
from asyncgg.transport.answer import Answer
from asyncgg.transport.client import Opened, open_client
from asyncgg.transport.connection import Connection
from asyncgg.transport.exchange import EXCHANGE, Exchange
from asyncgg.transport.http import WatchedSession
from asyncgg.transport.session import SERVICE
from asyncgg.transport.signed import SignedTransport

__all__ = ["AwsTransport", "open_aws"]


class AwsTransport(SignedTransport):
    """Sends through an open aiobotocore client; made by `open_transport`."""

    def __init__(self, opened: Opened, request_timeout: float, operation: Operation) -> None:
        super().__init__(opened.source, opened.target, request_timeout)
        self._call = opened.call(operation)
        self._client = opened.client

    async def _post(self, exchange: Exchange, core: str, things: Sequence[str]) -> None:
        await self._call(coreDeviceThingName=core, entries=[{"thingName": thing} for thing in things])

    async def _get(self, exchange: Exchange, core: str | None, parameters: Mapping[str, str]) -> None:
        if core is None:
            await self._client.list_core_devices(**parameters)
        else:
            await self._client.list_client_devices_associated_with_core_device(coreDeviceThingName=core, **parameters)


def _answered(response_dict: dict[str, Any], **_: Any) -> None:
    """Keep the raw answer, and spare botocore the reading of it: its own would not be used, and costs time."""
    EXCHANGE.get(Exchange()).answer = Answer(
        response_dict["status_code"], response_dict["headers"], response_dict["body"]
    )
    response_dict["headers"], response_dict["body"] = {}, b"{}"


@asynccontextmanager
async def open_aws(
    connection: Connection, operation: Operation = Operation.DISASSOCIATE
) -> AsyncIterator[AwsTransport]:
    """See `open_transport`."""
    async with open_client(connection, WatchedSession) as opened:
        opened.client.meta.events.register(f"before-parse.{SERVICE}", _answered)
        yield AwsTransport(opened, connection.request_timeout, operation)
