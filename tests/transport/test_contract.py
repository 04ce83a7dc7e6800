"""Rule: what every transport must do lives here, told by what the service's side sees; no test knows which it is."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from asyncgg.errors import CredentialsError
from asyncgg.model import Accepted, EntryError, Refused, Unanswered
from asyncgg.transport import Connection, Refreshable, Transport

from .conftest import ACCESS_KEY, SECRET_KEY, Opener
from .server import Server, Step, answer, hang, hang_up, raw, reset

THINGS = ("thing-1", "thing-2")


# --- the request ---


async def test_one_request_as_the_service_model_says(transport: Transport, server: Server) -> None:
    """The path holds the core's name escaped, the body the things in order, and the signature is for greengrass."""
    await transport.send("core:1", THINGS)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/greengrass/v2/coreDevices/core%3A1/disassociateClientDevices")
    assert json.loads(request.body) == {"entries": [{"thingName": "thing-1"}, {"thingName": "thing-2"}]}
    assert f"Credential={ACCESS_KEY}/" in request.headers["authorization"]
    assert "/us-east-1/greengrass/aws4_request" in request.headers["authorization"]
    assert "asyncgg/" in request.headers["user-agent"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_nothing_is_sent_twice(transport: Transport, server: Server, status: int) -> None:
    """A refusal that SDKs like to retry reaches the caller after one request."""
    server.play(answer(status, {"message": "no"}))
    assert isinstance(await transport.send("core", THINGS), Refused)
    assert len(server.requests) == 1


async def test_connections_are_used_again(transport: Transport, server: Server) -> None:
    """Requests one after the other share a connection."""
    for _ in range(3):
        await transport.send("core", THINGS)
    assert len(server.requests) == 3
    assert len(server.open) == 1


# --- 200 ---


@pytest.mark.parametrize("body", [{}, {"errorEntries": []}, {"errorEntries": None}, {"later": 1}, b"", b" {} \n"])
async def test_plain_success(transport: Transport, server: Server, body: Any) -> None:
    """An empty list, a missing one, a null and a whole empty body all say that every thing is disassociated."""
    server.play(answer(200, body, {"x-amzn-RequestId": "r-1"}))
    assert await transport.send("core", THINGS) == Accepted((), "r-1")


async def test_entry_errors_word_for_word(transport: Transport, server: Server) -> None:
    """Codes and messages come through unchanged, absent ones as empty strings."""
    entries = [{"thingName": "thing-2", "code": "Odd#Code: 1", "message": "Ünglück\n2"}, {"thingName": "thing-1"}]
    server.play(answer(200, {"errorEntries": entries}))
    assert await transport.send("core", THINGS) == Accepted(
        (EntryError("thing-2", "Odd#Code: 1", "Ünglück\n2"), EntryError("thing-1", "", ""))
    )


GARBAGE: dict[str, Step] = {
    "text": answer(200, b"<html>hello</html>"),
    "half of a JSON": answer(200, b'{"errorEntries": [{"thingName": "thi'),
    "null": answer(200, b"null"),
    "list": answer(200, []),
    "string": answer(200, b'"ok"'),
    "number": answer(200, b"7"),
    "blank": answer(200, b"  "),
    "no UTF-8": answer(200, b"\xff\xfe\xfa{}"),
    "deep": answer(200, b"[" * 100_000),
    "empty without a length": answer(200, b"", length=-1),
    "an error's body": answer(200, {"message": "Internal failure"}),
    "a typed error's body": answer(200, {"__type": "ThrottlingException"}),
    "entries as an object": answer(200, {"errorEntries": {"thingName": "thing-1"}}),
    "entries as false": answer(200, {"errorEntries": False}),
    "a null entry": answer(200, {"errorEntries": [None]}),
    "an entry as a string": answer(200, {"errorEntries": ["thing-1"]}),
    "an entry without its thing": answer(200, {"errorEntries": [{"code": "X"}]}),
    "an entry of another request": answer(200, {"errorEntries": [{"thingName": "thing-3", "code": "X"}]}),
    "a thing as a number": answer(200, {"errorEntries": [{"thingName": 1}]}),
    "a code as a number": answer(200, {"errorEntries": [{"thingName": "thing-1", "code": 1}]}),
    "gzip": answer(200, b"\x1f\x8b\x08\x00abc", {"Content-Encoding": "gzip"}),
    "204": answer(204, b""),
    "202": answer(202, {}),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "broken header": raw(b"HTTP/1.1 200 OK\r\nConte\x00nt-Length: 2\r\n\r\n{}"),
    "broken length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}"),
}


@pytest.mark.parametrize("step", GARBAGE.values(), ids=GARBAGE.keys())
async def test_an_unreadable_answer_is_no_success(transport: Transport, server: Server, step: Step) -> None:
    """A 200 with anything but the service model's answer leaves the request unanswered, and perhaps sent."""
    server.play(step)
    reply = await transport.send("core", THINGS)
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == ("garbage", True)
    assert reply.detail
    assert "\n" not in reply.detail


# --- refusals ---

REFUSALS: list[tuple[int, str, dict[str, Any], Refused]] = [
    (
        400,
        "ValidationException",
        {"message": "m", "reason": "FIELD_VALIDATION_FAILED", "fields": [{"name": "entries.1", "message": "bad"}]},
        Refused(400, "ValidationException", "m", reason="FIELD_VALIDATION_FAILED", fields=("entries.1",)),
    ),
    (403, "AccessDeniedException", {"message": "no: arn"}, Refused(403, "AccessDeniedException", "no: arn")),
    (
        404,
        "ResourceNotFoundException",
        {"message": "m", "resourceId": "core", "resourceType": "coreDevice"},
        Refused(404, "ResourceNotFoundException", "m", resource_id="core", resource_type="coreDevice"),
    ),
    (
        409,
        "ConflictException",
        {"message": "m", "resourceId": "core", "resourceType": "coreDevice"},
        Refused(409, "ConflictException", "m", resource_id="core", resource_type="coreDevice"),
    ),
    (
        429,
        "ThrottlingException",
        {"message": "m", "quotaCode": "L-1", "serviceCode": "greengrass"},
        Refused(429, "ThrottlingException", "m", quota_code="L-1", service_code="greengrass"),
    ),
    (500, "InternalServerException", {"message": "m"}, Refused(500, "InternalServerException", "m")),
]


@pytest.mark.parametrize("place", ["header", "header with a link", "__type", "code"])
@pytest.mark.parametrize(("status", "code", "body", "expected"), REFUSALS, ids=[row[1] for row in REFUSALS])
async def test_each_error_of_the_service_model(
    transport: Transport,
    server: Server,
    place: str,
    status: int,
    code: str,
    body: dict[str, Any],
    expected: Refused,
) -> None:
    """Every modelled error arrives with all its members, wherever the service puts the code."""
    headers = {}
    if place.startswith("header"):
        headers["x-amzn-ErrorType"] = code + ":http://internal.amazon.com/" * ("link" in place)
    else:
        body = body | {place: f"com.amazon#{code}" if place == "__type" else code}
    server.play(answer(status, body, headers))
    assert await transport.send("core", THINGS) == expected


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (503, b"<html><body>Service Unavailable</body></html>", "503", "Service Unavailable"),
        (502, b"", "502", "Bad Gateway"),
        (400, b"plain\nwords", "400", "plain words"),
        (403, b"[1]", "403", "Forbidden"),
        (403, b'{"message": null, "fields": 7, "reason": 1, "code": {}}', "403", ""),
        (400, b'{"half', "400", "Bad Request"),
        (404, b"\xff\xfe", "404", "\ufffd\ufffd"),
        (600, b"{}", "600", ""),
    ],
)
async def test_a_refusal_that_is_not_the_services(
    transport: Transport, server: Server, status: int, body: bytes, code: str, message: str
) -> None:
    """Gateways' pages and broken bodies still give a refusal with the status as its code and a readable message."""
    server.play(answer(status, body))
    assert await transport.send("core", THINGS) == Refused(status, code, message)


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_a_refusal_and_is_not_followed(transport: Transport, server: Server, status: int) -> None:
    """No second request is made, here or elsewhere: it would carry the session token, and a GET's 200 means nothing."""
    server.play(answer(status, b"", {"Location": f"{server.url}/elsewhere"}), answer(200, {}))
    reply = await transport.send("core", THINGS)
    assert isinstance(reply, Refused)
    assert reply.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("2.5", 2.5), ("-3", 0.0), ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("soon", None)],
)
@pytest.mark.parametrize(
    ("status", "code"), [(429, "ThrottlingException"), (500, "InternalServerException"), (503, "")]
)
async def test_retry_after(
    transport: Transport, server: Server, status: int, code: str, value: str, seconds: float | None
) -> None:
    """`Retry-After` is read as whole or decimal seconds or as a date, and an unreadable one breaks nothing."""
    headers = {"Retry-After": value, "Date": "Thu, 01 Jan 2026 00:00:00 GMT", "x-amzn-errortype": code}
    server.play(answer(status, {"message": "m"}, headers))
    reply = await transport.send("core", THINGS)
    assert reply == Refused(status, code or str(status), "m", retry_after=seconds)


# --- no answer ---


@pytest.mark.parametrize(
    "step",
    [
        reset,
        hang_up,
        answer(200, b'{"errorEntries": [', length=100),
        answer(200, b"{}", length=100),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    ],
    ids=["reset", "hang up", "half a body", "a whole JSON of half a body", "no last chunk", "half a head"],
)
async def test_a_lost_answer_is_perhaps_sent(transport: Transport, server: Server, step: Step) -> None:
    """When the connection ends in or before the answer, the request counts as perhaps sent, and is not repeated."""
    server.play(step)
    reply = await transport.send("core", THINGS)
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == ("reset", True)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "step",
    [hang, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", close=False)],
    ids=["no answer", "an answer that stops"],
)
async def test_a_call_that_hangs_is_cut(opener: Opener, server: Server, keys: None, step: Step) -> None:
    """After the request timeout the request counts as perhaps sent, and its connection is not kept."""
    server.play(step)
    async with opener(Connection(endpoint_url=server.url, request_timeout=0.2)) as transport:
        reply = await transport.send("core", THINGS)
        assert isinstance(reply, Unanswered)
        assert (reply.kind, reply.sent) == ("timeout", True)
        await asyncio.wait_for(server.idle.wait(), 2)


async def test_a_slow_drip_is_cut_too(opener: Opener, server: Server, keys: None) -> None:
    """The limit is on the whole request: bytes that keep coming do not extend it."""

    async def drip(_request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.05)

    server.play(drip)
    async with opener(Connection(endpoint_url=server.url, request_timeout=0.3)) as transport:
        reply = await asyncio.wait_for(transport.send("core", THINGS), 2)
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == ("timeout", True)


async def test_connection_refused_is_not_sent(opener: Opener, keys: None) -> None:
    """Where nobody listens it is certain that nothing was sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with opener(Connection(endpoint_url=url)) as transport:
            reply = await transport.send("core", THINGS)
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == ("connect", False)


@pytest.mark.parametrize(("connect_timeout", "request_timeout", "kind"), [(0.1, 5.0, "connect"), (5.0, 0.1, "timeout")])
async def test_no_connection_in_time_is_not_sent(
    opener: Opener,
    server: Server,
    keys: None,
    monkeypatch: pytest.MonkeyPatch,
    connect_timeout: float,
    request_timeout: float,
    kind: str,
) -> None:
    """A host that does not answer the connection attempt has not seen the request, whichever limit ends the wait."""

    async def silence(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", silence)
    connection = Connection(endpoint_url=server.url, connect_timeout=connect_timeout, request_timeout=request_timeout)
    async with opener(connection) as transport:
        reply = await asyncio.wait_for(transport.send("core", THINGS), 2)
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == (kind, False)


async def test_an_unknown_host_is_not_sent(opener: Opener, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve is told as such, and nothing was sent."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with opener(Connection(endpoint_url="http://nowhere.invalid")) as transport:
        reply = await transport.send("core", THINGS)
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == ("dns", False)


async def test_a_failed_tls_handshake_is_not_sent(opener: Opener, server: Server, keys: None) -> None:
    """A peer that does not speak TLS has not seen the request."""
    server.play(raw(b"no TLS here\r\n\r\n"))
    async with opener(Connection(endpoint_url=server.url.replace("http:", "https:"), request_timeout=2)) as transport:
        sending = asyncio.create_task(transport.send("core", THINGS))
        await asyncio.wait_for(server.accepted.wait(), 2)
        for writer in list(server.open):
            writer.write(b"this is no TLS\r\n\r\n")
        reply = await sending
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == ("tls", False)


async def test_a_proxy_that_is_down_is_not_sent(
    opener: Opener, server: Server, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is used; when it is down nothing was sent, and its password is in no message."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter2@127.0.0.1:{unused.getsockname()[1]}")
        async with opener(Connection(endpoint_url=server.url)) as transport:
            reply = await transport.send("core", THINGS)
    assert isinstance(reply, Unanswered)
    assert (reply.kind, reply.sent) == ("proxy", False)
    assert "hunter2" not in repr(reply)
    assert server.requests == []


# --- cancellation ---


async def test_cancelling_leaks_no_connection(transport: Transport, server: Server) -> None:
    """A cancelled call raises CancelledError, its connection ends, and the next call works."""
    server.play(hang, answer())
    sending = asyncio.create_task(transport.send("core", THINGS))
    await asyncio.wait_for(server.asked.wait(), 2)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(server.idle.wait(), 2)
    assert await transport.send("core", THINGS) == Accepted()


async def test_cancelling_frees_the_pool(opener: Opener, server: Server, keys: None) -> None:
    """With one connection allowed, cancelled calls, whether they held it or waited for it, leave it to the next."""
    server.play(hang, answer())
    async with opener(Connection(endpoint_url=server.url, pool=1, request_timeout=2)) as transport:
        sending = [asyncio.create_task(transport.send("core", THINGS)) for _ in range(3)]
        await asyncio.wait_for(server.asked.wait(), 2)
        for task in sending:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*sending, return_exceptions=True)
        )
        assert await transport.send("core", THINGS) == Accepted()


async def test_closing_ends_every_connection(opener: Opener, server: Server, keys: None) -> None:
    """After the block no connection is left."""
    async with opener(Connection(endpoint_url=server.url)) as transport:
        await asyncio.gather(*(transport.send("core", THINGS) for _ in range(4)))
        assert server.open
    await asyncio.wait_for(server.idle.wait(), 2)


# --- credentials ---

EXPIRED = answer(
    403,
    {"message": "The security token included in the request is expired"},
    {"x-amzn-errortype": "ExpiredTokenException"},
)


def _write_keys(home: Path, key: str) -> None:
    (home / "credentials").write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET_KEY}\n")


async def test_no_credentials(opener: Opener, server: Server) -> None:
    """Without credentials opening fails with what to do, and nothing is asked."""
    with pytest.raises(CredentialsError, match=r"no AWS credentials.*aws sso login"):
        async with opener(Connection(endpoint_url=server.url)):
            pass
    assert server.requests == []


async def test_expired_then_refreshed(opener: Opener, server: Server, home: Path) -> None:
    """A refusal for expired credentials is an ordinary Refused; after a refresh the file's new ones sign."""
    _write_keys(home, "AKIAOLD")
    server.play(EXPIRED, answer())
    async with opener(Connection(endpoint_url=server.url)) as transport:
        refreshable: Refreshable = transport
        reply = await transport.send("core", THINGS)
        assert isinstance(reply, Refused)
        assert reply.code == "ExpiredTokenException"
        _write_keys(home, "AKIANEW")
        await refreshable.refresh()
        assert await transport.send("core", THINGS) == Accepted()
    assert ["AKIAOLD/" in request.headers["authorization"] for request in server.requests] == [True, False]
    assert "AKIANEW/" in server.requests[1].headers["authorization"]


async def test_refresh_without_new_credentials(opener: Opener, server: Server, home: Path) -> None:
    """When the source still gives what was refused, or nothing, refresh says so in one sentence without the secret."""
    _write_keys(home, "AKIAOLD")
    server.play(EXPIRED)
    async with opener(Connection(endpoint_url=server.url)) as transport:
        await transport.send("core", THINGS)
        with pytest.raises(CredentialsError, match="still gives the same") as told:
            await transport.refresh()
        (home / "credentials").unlink()
        with pytest.raises(CredentialsError, match="no AWS credentials") as gone:
            await transport.refresh()
    for message in (str(told.value), str(gone.value)):
        assert "\n" not in message
        assert SECRET_KEY not in message


async def test_a_late_refusal_does_not_condemn_new_credentials(opener: Opener, server: Server, home: Path) -> None:
    """A refusal of the old credentials that arrives after the refresh lets the next refresh keep the new ones."""
    _write_keys(home, "AKIAOLD")
    late = asyncio.Event()

    async def slowly(request: Any, writer: asyncio.StreamWriter) -> None:
        await late.wait()
        await EXPIRED(request, writer)

    server.play(slowly)
    async with opener(Connection(endpoint_url=server.url)) as transport:
        sending = asyncio.create_task(transport.send("core", THINGS))
        await asyncio.wait_for(server.asked.wait(), 2)
        _write_keys(home, "AKIANEW")
        await transport.refresh()
        late.set()
        assert isinstance(await sending, Refused)
        await transport.refresh()


async def test_no_secret_shows(transport: Transport, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the repr nor the log, at its wordiest, holds the secret key."""
    caplog.set_level("DEBUG")
    server.play(EXPIRED)
    reply = await transport.send("core", THINGS)
    assert SECRET_KEY not in repr(transport) + repr(reply) + repr(vars(transport)) + caplog.text
