"""Tests of transports that associate."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from asyncgg.models import Accepted, EntryError, ErrorResponse, Operation, Reply
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from asyncgg.transport import ConnectionConfig, Transport, open_transport
from asyncgg.transport.factory import TransportKind
from tests.support.scripted_server import (
    ScriptedServer,
    ScriptStep,
    close_connection,
    never_respond,
    reset_connection,
    respond,
)

from .conftest import SECRET_KEY, THINGS, outcome_kind, reply_to

KINDS: tuple[TransportKind, ...] = ("sdk", "native")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> TransportKind:
    """Each kind of transport."""
    selected: TransportKind = request.param
    return selected


@pytest_asyncio.fixture
async def transport(kind: TransportKind, server: ScriptedServer, keys: None) -> AsyncIterator[Transport]:
    """An open transport to the server that associates."""
    connection = ConnectionConfig(endpoint_url=server.url, request_timeout=0.2, connect_timeout=1.0)
    async with open_transport(connection, kind, Operation.ASSOCIATE) as opened:
        yield opened


async def test_send_associate_request_follows_service_model(transport: Transport, server: ScriptedServer) -> None:
    """The path differs from disassociation; body and signature do not."""
    await transport.send("core:1", THINGS)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/greengrass/v2/coreDevices/core%3A1/associateClientDevices")
    assert json.loads(request.body) == {"entries": [{"thingName": "thing-1"}, {"thingName": "thing-2"}]}
    assert "/us-east-1/greengrass/aws4_request" in request.headers["authorization"]


RESPONSES: list[tuple[ScriptStep, object]] = [
    (respond(200, {}), Accepted()),
    (
        respond(200, {"errorEntries": [{"thingName": "thing-2", "code": "X", "message": "é"}]}),
        Accepted((EntryError("thing-2", "X", "é"),)),
    ),
    (respond(200, {"errorEntries": [{"thingName": "other", "code": "X"}]}), ("garbage", True)),
    (respond(200, b"<html>"), ("garbage", True)),
    (respond(200, b'{"errorEntries": [', length=99), ("reset", True)),
    (
        respond(429, {"message": "m"}, {"x-amzn-ErrorType": "ThrottlingException", "Retry-After": "2"}),
        ErrorResponse(429, "ThrottlingException", "m", retry_after=2.0),
    ),
    (
        respond(404, {"message": "m", "resourceId": "core"}, {"x-amzn-ErrorType": "ResourceNotFoundException"}),
        ErrorResponse(404, "ResourceNotFoundException", "m", resource_id="core"),
    ),
    (respond(500, {"message": "m", "code": "X"}), ErrorResponse(500, "X", "m")),
    (respond(403, b"<html>"), ("foreign", True)),
    (reset_connection, ("reset", True)),
    (close_connection, ("reset", True)),
    (never_respond, ("timeout", True)),
]


async def test_send_associate_parses_responses_like_disassociate(transport: Transport, server: ScriptedServer) -> None:
    """Success, entry errors, errors and lost responses give the same replies."""
    replies: list[Reply] = [await reply_to(transport, server, step) for step, _ in RESPONSES]
    assert [outcome_kind(reply) for reply in replies] == [expected for _, expected in RESPONSES]
    assert len(server.requests) == len(RESPONSES)


async def test_associate_restores_disassociated_things(kind: TransportKind, keys: None) -> None:
    """A service that verifies signatures restores the associations."""
    config = SimulatorConfig(latency_ms=0.0, rate=float("inf"), secret_key=SECRET_KEY)
    async with Simulator(config, fleet_spec=FleetSpec.from_things({"core:1": ["a", "b"]})) as simulator:
        connection = ConnectionConfig(endpoint_url=simulator.url)
        for operation, remaining in ((Operation.DISASSOCIATE, set()), (Operation.ASSOCIATE, {"a", "b"})):
            async with open_transport(connection, kind, operation) as transport:
                reply = await transport.send("core:1", ["a", "b"])
            assert isinstance(reply, Accepted)
            assert not reply.errors
            assert set(simulator.service.fleet.things["core:1"]) == remaining
