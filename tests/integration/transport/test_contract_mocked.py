"""Rule: single exchanges of every transport with aiohttp itself mocked live here."""

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
    """aioresponses does not know this argument of aiohttp 3.14."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(), **kwargs)


async def test_one_mocked_exchange(opener: Opener, keys: None) -> None:
    """One call is one POST to the operation's URL, and its answer is read."""
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
async def test_without_proof_a_request_is_perhaps_sent(opener: Opener, keys: None, error: Exception, kind: str) -> None:
    """Where nothing was observed of the connection, the transport does not claim that nothing was sent."""
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
async def test_without_a_connection_nothing_was_sent(opener: Opener, keys: None, error: Exception) -> None:
    """An error that is only raised while a connection is being made proves that nothing was sent."""
    with aioresponses() as mocked:
        mocked.post(URL, exception=error)
        async with opener(ConnectionConfig(endpoint_url="http://mocked.example")) as transport:
            assert outcome_kind(await transport.send("core", THINGS)) == ("connect", False)
