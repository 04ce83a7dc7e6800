"""Contract of all transports with a mocked aiohttp."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses

from asyncgg.models import Accepted, EntryError, NoResponse
from asyncgg.transport import ConnectionConfig

from .conftest import THINGS, Opener, outcome_kind

URL = "http://mocked.example/greengrass/v2/coreDevices/core/disassociateClientDevices"


class MockedResponse(aiohttp.ClientResponse):
    """Adds the argument of aiohttp 3.14 that aioresponses does not pass."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(), **kwargs)


async def test_send_is_one_post(opener: Opener, keys: None) -> None:
    """One call is one POST to the URL of the operation."""
    with aioresponses() as mocked:
        mocked.post(
            URL, payload={"errorEntries": [{"thingName": "thing-1", "code": "X"}]}, response_class=MockedResponse
        )
        async with opener(ConnectionConfig(endpoint_url="http://mocked.example")) as transport:
            assert await transport.send("core", THINGS) == Accepted((EntryError("thing-1", "X", ""),))
    assert [len(calls) for calls in mocked.requests.values()] == [1]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aiohttp.ClientOSError(104, "Connection reset by peer"), "reset"),
        (aiohttp.ServerDisconnectedError(), "reset"),
        (aiohttp.ClientPayloadError("half"), "reset"),
        (aiohttp.SocketTimeoutError("Timeout on reading data from socket"), "timeout"),
        (TimeoutError(), "timeout"),
        (RuntimeError("Session is closed"), "http"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
async def test_send_error_without_trace_is_possibly_sent(
    opener: Opener, keys: None, error: Exception, kind: str
) -> None:
    """Without a trace of the connection the request counts as possibly sent."""
    with aioresponses() as mocked:
        mocked.post(URL, exception=error)
        async with opener(ConnectionConfig(endpoint_url="http://mocked.example")) as transport:
            reply = await transport.send("core", THINGS)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == (kind, True)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectorError(Mock(), OSError(111, "Connection refused")),
        aiohttp.ConnectionTimeoutError("Connection timeout to host"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_send_connection_error_is_not_sent(opener: Opener, keys: None, error: Exception) -> None:
    """An error that occurs only while connecting proves that nothing was sent."""
    with aioresponses() as mocked:
        mocked.post(URL, exception=error)
        async with opener(ConnectionConfig(endpoint_url="http://mocked.example")) as transport:
            assert outcome_kind(await transport.send("core", THINGS)) == ("connect", False)
