"""Contract of all transports: pages of cores and client devices."""

from __future__ import annotations

import asyncio
import json
import math
import os
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from asyncgg.errors import CredentialsError
from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse
from asyncgg.transport import ConnectionConfig, CoreFilter, NativeTransport, Page, SdkTransport
from asyncgg.transport.list_responses import parse_device_page
from asyncgg.transport.responses import HttpResponse
from tests.support.scripted_server import (
    ReceivedRequest,
    ScriptedServer,
    ScriptStep,
    close_connection,
    never_respond,
    reset_connection,
    respond,
    respond_raw,
)

from .conftest import ACCESS_KEY, SECRET_KEY, Opener, outcome_kind

AnyTransport = SdkTransport | NativeTransport
NO_FILTER = CoreFilter()


async def list_cores(transport: AnyTransport, server: ScriptedServer, step: ScriptStep) -> Any:
    """List cores from a server that responds with `step`."""
    server.set_script(step)
    return await transport.list_cores("", NO_FILTER)


async def list_devices(transport: AnyTransport, server: ScriptedServer, step: ScriptStep) -> Any:
    """List the client devices of a core from a server that responds with `step`."""
    server.set_script(step)
    return await transport.list_client_devices("core", "")


# --- the request ---


async def test_list_cores_request_follows_service_model(transport: AnyTransport, server: ScriptedServer) -> None:
    """The query has page size, token and filters, encoded; the signature has the service."""
    arn = "arn:aws:iot:eu-west-1:123456789012:thinggroup/old site"
    await transport.list_cores("to/ken+=", CoreFilter(arn, "UNHEALTHY", "aws_nucleus_lite"))
    await transport.list_cores("", NO_FILTER)
    await transport.list_cores("", NO_FILTER, 1)
    filtered, plain, single = server.requests
    assert single.path == "/greengrass/v2/coreDevices?maxResults=1"
    assert (plain.method, plain.path) == ("GET", "/greengrass/v2/coreDevices?maxResults=100")
    path, _, query = filtered.path.partition("?")
    assert path == "/greengrass/v2/coreDevices"
    assert sorted(query.split("&")) == [
        "maxResults=100",
        "nextToken=to%2Fken%2B%3D",
        "runtime=aws_nucleus_lite",
        "status=UNHEALTHY",
        "thingGroupArn=arn%3Aaws%3Aiot%3Aeu-west-1%3A123456789012%3Athinggroup%2Fold%20site",
    ]
    assert f"Credential={ACCESS_KEY}/" in filtered.headers["authorization"]
    assert "/us-east-1/greengrass/aws4_request" in filtered.headers["authorization"]
    assert "asyncgg/" in filtered.headers["user-agent"]
    assert filtered.body == b""


async def test_list_client_devices_request_follows_service_model(
    transport: AnyTransport, server: ScriptedServer
) -> None:
    """The path has the encoded core name, the query the token."""
    await transport.list_client_devices("core:1", "t")
    (request,) = server.requests
    path, _, query = request.path.partition("?")
    assert (request.method, path) == ("GET", "/greengrass/v2/coreDevices/core%3A1/associatedClientDevices")
    assert sorted(query.split("&")) == ["maxResults=100", "nextToken=t"]


async def test_list_signature_equals_botocore(transport: AnyTransport, server: ScriptedServer) -> None:
    """botocore signs the received request with the same signature."""
    await transport.list_cores("a b/c=+&%~é", CoreFilter(status="HEALTHY", runtime="x y"))
    await transport.list_client_devices("core:1", "é=")
    assert len(server.requests) == 2
    for request in server.requests:
        assert request.headers["authorization"].endswith(f"Signature={_signature(request, server.url)}")


def _signature(request: ReceivedRequest, url: str) -> str:
    """Sign a request with botocore."""
    names = request.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    unsigned = AWSRequest("GET", url + request.path, {name: request.headers[name] for name in names}, b"")
    unsigned.context["timestamp"] = request.headers["x-amz-date"]
    auth = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "greengrass", "us-east-1")
    return str(auth.signature(auth.string_to_sign(unsigned, auth.canonical_request(unsigned)), unsigned))


async def test_list_error_is_not_retried(transport: AnyTransport, server: ScriptedServer) -> None:
    """Errors that SDKs retry reach the caller after one request each."""
    for status in (429, 500, 503):
        step = respond(status, {"message": "no", "code": "SomeException"})
        assert isinstance(await list_devices(transport, server, step), ErrorResponse)
    assert len(server.requests) == 3


# --- 200 ---


async def test_list_cores_returns_all_members(transport: AnyTransport, server: ScriptedServer) -> None:
    """Missing members are empty; times are numbers or ISO 8601."""
    whole = {
        "coreDeviceThingName": "core-1",
        "status": "HEALTHY",
        "lastStatusUpdateTimestamp": 1_700_000_000.25,
        "platform": "linux",
        "architecture": "amd64",
        "runtime": "aws_nucleus_classic",
        "later": 1,
    }
    bare = {"coreDeviceThingName": "core-2", "lastStatusUpdateTimestamp": "2023-11-14T22:13:20Z"}
    step = respond(200, {"coreDevices": [whole, bare], "nextToken": "next"}, {"x-amzn-RequestId": "r-1"})
    assert await list_cores(transport, server, step) == Page(
        (
            CoreDevice("core-1", "HEALTHY", 1_700_000_000.25, "linux", "amd64", "aws_nucleus_classic"),
            CoreDevice("core-2", last_status_at=1_700_000_000.0),
        ),
        "next",
        (),
        "r-1",
    )


async def test_list_client_devices_returns_names_and_times(transport: AnyTransport, server: ScriptedServer) -> None:
    """A null or empty token means the last page."""
    items = [{"thingName": "a", "associationTimestamp": 7}, {"thingName": "b"}]
    for token in (None, ""):
        step = respond(200, {"associatedClientDevices": items, "nextToken": token})
        assert await list_devices(transport, server, step) == Page((ClientDevice("a", 7.0), ClientDevice("b", None)))


async def test_list_client_devices_separates_invalid_names(transport: AnyTransport, server: ScriptedServer) -> None:
    """Invalid names are in `invalid_names` in printable form, the others in `items`."""
    names = ["a", "", "x/y", "z" * 129, "\x1b[31m", 7, None]
    items = [{"thingName": name} for name in names] + [{}]
    page = await list_devices(transport, server, respond(200, {"associatedClientDevices": items}))
    assert [device.thing for device in page.items] == ["a"]
    assert page.invalid_names == ("''", "'x/y'", "'" + "z" * 129 + "'", "'\\x1b[31m'", "7", "None", "None")


async def test_list_missing_list_requires_request_id(transport: AnyTransport, server: ScriptedServer) -> None:
    """A 200 without the list is an empty page if it has a request id, else garbage."""
    headers = {"x-amzn-RequestId": "r-1"}
    assert await list_devices(transport, server, respond(200, {}, headers)) == Page((), request_id="r-1")
    assert outcome_kind(await list_devices(transport, server, respond(200, {}))) == ("garbage", True)
    assert outcome_kind(await list_devices(transport, server, respond(200, {"message": "no"}, headers))) == (
        "garbage",
        True,
    )


ITEM = {"thingName": "a"}
GARBAGE: dict[str, Any] = {
    "markup": b"<html>hello</html>",
    "half of a JSON": b'{"associatedClientDevices": [{"thingName": "thi',
    "nothing": b"",
    "list": [],
    "no UTF-8": b"\xff\xfe\xfa{}",
    "deep": b"[" * 100_000,
    "an error's body": {"__type": "ThrottlingException"},
    "the other list": {"coreDevices": []},
    "the list as an object": {"associatedClientDevices": ITEM},
    "the list as text": {"associatedClientDevices": "a"},
    "an item as text": {"associatedClientDevices": ["a"]},
    "a null item": {"associatedClientDevices": [None]},
    "a token that is a number": {"associatedClientDevices": [], "nextToken": 7},
    "a time that is an object": {"associatedClientDevices": [ITEM | {"associationTimestamp": {}}]},
    "a time that is true": {"associatedClientDevices": [ITEM | {"associationTimestamp": True}]},
    "a time as text": {"associatedClientDevices": [ITEM | {"associationTimestamp": "soon"}]},
    "a time before 1970": {"associatedClientDevices": [ITEM | {"associationTimestamp": -1}]},
    "a time without end": {"associatedClientDevices": [ITEM | {"associationTimestamp": math.inf}]},
    "a time that is not a number": {"associatedClientDevices": [ITEM | {"associationTimestamp": math.nan}]},
}


@pytest.mark.parametrize("name", GARBAGE)
def test_parse_device_page_malformed_returns_no_response(name: str) -> None:
    """A 200 that does not follow the service model is a lost response with a reason."""
    body = GARBAGE[name]
    result = parse_device_page(
        HttpResponse(200, {}, body if isinstance(body, bytes) else json.dumps(body).encode()), 0.0
    )
    assert isinstance(result, NoResponse)
    assert (result.kind, result.sent) == ("garbage", True)
    assert result.detail.isprintable()


async def test_list_cores_malformed_response_returns_no_response(
    transport: AnyTransport, server: ScriptedServer
) -> None:
    """HTML with status 200 and an unused status are lost responses."""
    for step in (respond(200, b"<html>hello</html>"), respond(202, {"coreDevices": []})):
        assert outcome_kind(await list_cores(transport, server, step)) == ("garbage", True)


# --- everything else ---

ERROR_RESPONSES: dict[str, tuple[ScriptStep, ErrorResponse]] = {
    "throttled": (
        respond(
            429,
            {"message": "slow", "quotaCode": "L-1", "serviceCode": "greengrass"},
            {"x-amzn-ErrorType": "ThrottlingException", "Retry-After": "7"},
        ),
        ErrorResponse(429, "ThrottlingException", "slow", retry_after=7.0, quota_code="L-1", service_code="greengrass"),
    ),
    "missing": (
        respond(
            404,
            {"message": "unknown core", "resourceId": "core", "resourceType": "coreDevice"},
            {"x-amzn-ErrorType": "ResourceNotFoundException"},
        ),
        ErrorResponse(404, "ResourceNotFoundException", "unknown core", resource_id="core", resource_type="coreDevice"),
    ),
    "invalid": (
        respond(
            400,
            {"message": "bad token", "reason": "FIELD_VALIDATION_FAILED", "fields": [{"name": "nextToken"}]},
            {"x-amzn-ErrorType": "ValidationException"},
        ),
        ErrorResponse(400, "ValidationException", "bad token", reason="FIELD_VALIDATION_FAILED", fields=("nextToken",)),
    ),
    "denied": (
        respond(403, {"Message": "no"}, {"x-amzn-ErrorType": "AccessDeniedException"}),
        ErrorResponse(403, "AccessDeniedException", "no"),
    ),
    "broken": (
        respond(500, {"message": "oops"}, {"x-amzn-ErrorType": "InternalServerException", "Retry-After": "2"}),
        ErrorResponse(500, "InternalServerException", "oops", retry_after=2.0),
    ),
}


async def test_list_modelled_error_has_all_members(transport: AnyTransport, server: ScriptedServer) -> None:
    """Errors of both lists have all members."""
    for step, expected in ERROR_RESPONSES.values():
        assert await list_cores(transport, server, step) == expected
        assert await list_devices(transport, server, step) == expected


async def test_list_error_without_type_is_not_from_the_service(transport: AnyTransport, server: ScriptedServer) -> None:
    """A page of a gateway says nothing about a core or a permission."""
    for status in (302, 403, 404, 502):
        step = respond(status, b"<html>", {"Content-Type": "text/html"})
        assert outcome_kind(await list_cores(transport, server, step)) == ("foreign", True)
        assert outcome_kind(await list_devices(transport, server, step)) == ("foreign", True)


NETWORK_FAILURES: dict[str, tuple[ScriptStep, str]] = {
    "reset": (reset_connection, "reset"),
    "hung up": (close_connection, "reset"),
    "half a body": (respond(200, b'{"associatedClientDevices": []', length=100), "reset"),
    "no HTTP": (respond_raw(b"hello\r\n\r\n"), "garbage"),
}


async def test_list_lost_response_is_possibly_sent(transport: AnyTransport, server: ScriptedServer) -> None:
    """An incomplete response is lost."""
    result = {
        name: outcome_kind(await list_devices(transport, server, step)) for name, (step, _) in NETWORK_FAILURES.items()
    }
    assert result == {name: (kind, True) for name, (_, kind) in NETWORK_FAILURES.items()}


async def test_list_times_out(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """The total request timeout applies to lists."""
    async with opener(ConnectionConfig(endpoint_url=server.url, request_timeout=0.5)) as transport:
        assert outcome_kind(await list_devices(transport, server, never_respond)) == ("timeout", True)


async def test_list_connection_refused_is_not_sent(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """Nothing was sent to an unreachable endpoint."""
    async with opener(ConnectionConfig(endpoint_url="http://127.0.0.1:9", connect_timeout=1.0)) as transport:
        assert outcome_kind(await transport.list_cores("", NO_FILTER)) == ("connect", False)


async def test_list_redirect_is_not_followed(transport: AnyTransport, server: ScriptedServer) -> None:
    """A GET does not send the session token to another host either."""
    result = await list_cores(transport, server, respond(302, b"", {"Location": f"{server.url}/elsewhere"}))
    assert outcome_kind(result) == ("foreign", True)
    assert len(server.requests) == 1


async def test_list_and_send_share_refreshed_credentials(
    transport: AnyTransport, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one refresh lists and batches are signed with the new credentials."""
    expired = respond(403, {"message": "expired"}, {"x-amzn-ErrorType": "ExpiredTokenException"})
    result = await list_devices(transport, server, expired)
    assert isinstance(result, ErrorResponse)
    assert result.code == "ExpiredTokenException"
    with pytest.raises(CredentialsError, match="still returns the same"):
        await transport.refresh()
    monkeypatch.setitem(os.environ, "AWS_ACCESS_KEY_ID", "AKIDSECOND")
    await transport.refresh()
    server.set_script(respond(200, {"coreDevices": []}))
    assert await transport.list_cores("", NO_FILTER) == Page(())
    await transport.send("core", ["thing"])
    assert all("Credential=AKIDSECOND/" in request.headers["authorization"] for request in server.requests[1:])


async def test_list_cancelled_raises_and_transport_works(transport: AnyTransport, server: ScriptedServer) -> None:
    """A cancelled list raises CancelledError, and the next call works."""
    server.set_script(never_respond)
    task = asyncio.create_task(transport.list_client_devices("core", ""))
    await server.request_received.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await list_devices(transport, server, respond(200, {"associatedClientDevices": []})) == Page(())
