"""Contract of all transports: requests and responses of batches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse
from asyncgg.transport import Transport
from tests.support.scripted_server import ScriptedServer, ScriptStep, respond, respond_raw

from .conftest import ACCESS_KEY, THINGS, has_one_line_detail, outcome_kind, reply_to

# --- the request ---


async def test_send_request_follows_service_model(transport: Transport, server: ScriptedServer) -> None:
    """The path has the encoded core name, the body the things in order."""
    await transport.send("core:1", THINGS)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/greengrass/v2/coreDevices/core%3A1/disassociateClientDevices")
    assert json.loads(request.body) == {"entries": [{"thingName": "thing-1"}, {"thingName": "thing-2"}]}
    assert f"Credential={ACCESS_KEY}/" in request.headers["authorization"]
    assert "/us-east-1/greengrass/aws4_request" in request.headers["authorization"]
    assert "asyncgg/" in request.headers["user-agent"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_send_error_is_not_retried(transport: Transport, server: ScriptedServer, status: int) -> None:
    """An error that SDKs retry reaches the caller after one request."""
    server.set_script(respond(status, {"message": "no", "code": "SomeException"}))
    assert isinstance(await transport.send("core", THINGS), ErrorResponse)
    assert len(server.requests) == 1


async def test_send_reuses_connection(transport: Transport, server: ScriptedServer) -> None:
    """Sequential requests share a connection."""
    for _ in range(3):
        await transport.send("core", THINGS)
    assert len(server.requests) == 3
    assert len(server.open_connections) == 1


# --- 200 ---


async def test_send_empty_success_returns_accepted(transport: Transport, server: ScriptedServer) -> None:
    """An empty, missing or null list and a complete empty body mean success for every thing."""
    bodies: list[Any] = [{}, {"errorEntries": []}, {"errorEntries": None}, {"later": 1}, b"", b" {} \n"]
    observed = [await reply_to(transport, server, respond(200, body, {"x-amzn-RequestId": "r-1"})) for body in bodies]
    assert observed == [Accepted((), "r-1")] * len(bodies)


async def test_send_keeps_entry_errors_unchanged(transport: Transport, server: ScriptedServer) -> None:
    """Codes and messages are unchanged; missing ones are empty strings."""
    entries = [{"thingName": "thing-2", "code": "Some#Code: 1", "message": "Ünglück\n2"}, {"thingName": "thing-1"}]
    server.set_script(respond(200, {"errorEntries": entries}))
    assert await transport.send("core", THINGS) == Accepted(
        (EntryError("thing-2", "Some#Code: 1", "Ünglück\n2"), EntryError("thing-1", "", ""))
    )


GARBAGE: dict[str, ScriptStep] = {
    "text": respond(200, b"<html>hello</html>"),
    "half of a JSON": respond(200, b'{"errorEntries": [{"thingName": "thi'),
    "null": respond(200, b"null"),
    "list": respond(200, []),
    "string": respond(200, b'"ok"'),
    "number": respond(200, b"7"),
    "blank": respond(200, b"  "),
    "no UTF-8": respond(200, b"\xff\xfe\xfa{}"),
    "deep": respond(200, b"[" * 100_000),
    "empty without a length": respond(200, b"", length=-1),
    "an error's body": respond(200, {"message": "Internal failure"}),
    "a typed error's body": respond(200, {"__type": "ThrottlingException"}),
    "entries as an object": respond(200, {"errorEntries": {"thingName": "thing-1"}}),
    "entries as false": respond(200, {"errorEntries": False}),
    "a null entry": respond(200, {"errorEntries": [None]}),
    "an entry as a string": respond(200, {"errorEntries": ["thing-1"]}),
    "an entry without its thing": respond(200, {"errorEntries": [{"code": "X"}]}),
    "an entry of another request": respond(200, {"errorEntries": [{"thingName": "thing-3", "code": "X"}]}),
    "a thing as a number": respond(200, {"errorEntries": [{"thingName": 1}]}),
    "a code as a number": respond(200, {"errorEntries": [{"thingName": "thing-1", "code": 1}]}),
    "gzip": respond(200, b"\x1f\x8b\x08\x00abc", {"Content-Encoding": "gzip"}),
    "204": respond(204, b""),
    "202": respond(202, {}),
    "no HTTP": respond_raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "broken header": respond_raw(b"HTTP/1.1 200 OK\r\nConte\x00nt-Length: 2\r\n\r\n{}"),
    "broken length": respond_raw(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}"),
}


async def test_send_malformed_success_returns_no_response(transport: Transport, server: ScriptedServer) -> None:
    """A 200 that does not follow the service model counts as lost and possibly sent."""
    observed = {name: await reply_to(transport, server, step) for name, step in GARBAGE.items()}
    assert {name: outcome_kind(reply) for name, reply in observed.items()} == dict.fromkeys(GARBAGE, ("garbage", True))
    assert [reply for reply in observed.values() if not has_one_line_detail(reply)] == []


# --- errors ---

ERROR_RESPONSES: list[tuple[int, str, dict[str, Any], ErrorResponse]] = [
    (
        400,
        "ValidationException",
        {"message": "m", "reason": "FIELD_VALIDATION_FAILED", "fields": [{"name": "entries.1", "message": "bad"}]},
        ErrorResponse(400, "ValidationException", "m", reason="FIELD_VALIDATION_FAILED", fields=("entries.1",)),
    ),
    (403, "AccessDeniedException", {"message": "no: arn"}, ErrorResponse(403, "AccessDeniedException", "no: arn")),
    (
        404,
        "ResourceNotFoundException",
        {"message": "m", "resourceId": "core", "resourceType": "coreDevice"},
        ErrorResponse(404, "ResourceNotFoundException", "m", resource_id="core", resource_type="coreDevice"),
    ),
    (
        409,
        "ConflictException",
        {"message": "m", "resourceId": "core", "resourceType": "coreDevice"},
        ErrorResponse(409, "ConflictException", "m", resource_id="core", resource_type="coreDevice"),
    ),
    (
        429,
        "ThrottlingException",
        {"message": "m", "quotaCode": "L-1", "serviceCode": "greengrass"},
        ErrorResponse(429, "ThrottlingException", "m", quota_code="L-1", service_code="greengrass"),
    ),
    (500, "InternalServerException", {"message": "m"}, ErrorResponse(500, "InternalServerException", "m")),
]


@pytest.mark.parametrize("location", ["header", "header with a link", "__type", "code"])
async def test_send_modelled_error_has_all_members(transport: Transport, server: ScriptedServer, location: str) -> None:
    """Every modelled error has all members, wherever the code is."""
    observed = []
    for status, code, body, _ in ERROR_RESPONSES:
        headers = {}
        if location.startswith("header"):
            headers["x-amzn-ErrorType"] = code + ":http://internal.amazon.com/" * ("link" in location)
        else:
            body = body | {location: f"com.amazon#{code}" if location == "__type" else code}
        observed.append(await reply_to(transport, server, respond(status, body, headers)))
    assert observed == [expected for *_, expected in ERROR_RESPONSES]


PAGE = b"<html><body>Sign in to continue</body></html>"
NOT_FROM_SERVICE: dict[str, ScriptStep] = {
    **{
        f"{status} page": respond(status, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        for status in (302, 400, 401, 403, 404, 407, 451, 500, 502, 503, 504)
    },
    "empty 403": respond(403, b""),
    "plain 400": respond(400, b"plain\nwords"),
    "list": respond(403, b"[1]"),
    "message only": respond(403, {"message": "Forbidden"}),
    "members of other types": respond(403, {"message": None, "fields": 7, "reason": 1, "code": {}}),
    "half of a JSON": respond(400, b'{"code": "ValidationExc'),
    "no UTF-8": respond(404, b"\xff\xfe"),
    "unknown status": respond(600, b"{}"),
    "redirect": respond(307, PAGE, {"Location": "http://127.0.0.1:9/login"}),
}


async def test_send_error_without_type_is_not_from_the_service(transport: Transport, server: ScriptedServer) -> None:
    """Pages of proxies and gateways say nothing about the request, which was possibly forwarded."""
    observed = {name: await reply_to(transport, server, step) for name, step in NOT_FROM_SERVICE.items()}
    assert {name: outcome_kind(reply) for name, reply in observed.items()} == dict.fromkeys(
        NOT_FROM_SERVICE, ("foreign", True)
    )
    assert [reply for reply in observed.values() if not has_one_line_detail(reply)] == []
    assert observed["407 page"] == NoResponse(
        "foreign", "HTTP 407 Proxy Authentication Required (text/html), not from the service", sent=True
    )


async def test_send_429_without_type_is_a_throttle(transport: Transport, server: ScriptedServer) -> None:
    """Any sender can ask for fewer requests."""
    reply = await reply_to(transport, server, respond(429, b"slow\ndown", {"Retry-After": "3"}))
    assert reply == ErrorResponse(429, "429", "slow down", retry_after=3.0)


async def test_send_redirect_is_not_followed(transport: Transport, server: ScriptedServer) -> None:
    """A second request would contain the session token, and the 200 of a GET means nothing."""
    for status in (301, 302, 303, 304, 307, 308):
        server.requests.clear()
        server.set_script(respond(status, b"", {"Location": f"{server.url}/elsewhere"}), respond(200, {}))
        assert outcome_kind(await transport.send("core", THINGS)) == ("foreign", True)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "ThrottlingException"), (500, "InternalServerException"), (503, "ServiceUnavailableException")],
)
async def test_send_parses_retry_after(transport: Transport, server: ScriptedServer, status: int, code: str) -> None:
    """`Retry-After` can be seconds or a date; an unreadable one is ignored."""
    cases = {"7": 7.0, "0": 0.0, "2.5": 2.5, "-3": 0.0, "Thu, 01 Jan 2026 00:00:30 GMT": 30.0, "soon": None}
    for value, seconds in cases.items():
        headers = {"Retry-After": value, "Date": "Thu, 01 Jan 2026 00:00:00 GMT", "x-amzn-errortype": code}
        reply = await reply_to(transport, server, respond(status, {"message": "m"}, headers))
        assert reply == ErrorResponse(status, code, "m", retry_after=seconds)
