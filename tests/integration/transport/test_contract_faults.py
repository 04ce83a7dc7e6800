"""Rule: what every transport must do without an answer, when cancelled, and about its credentials lives here."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from asyncgg.errors import CredentialsError
from asyncgg.models import Accepted, ErrorResponse, NoResponse
from asyncgg.transport import ConnectionConfig, Refreshable, Transport
from tests.support.scripted_server import (
    ScriptedServer,
    ScriptStep,
    close_connection,
    never_respond,
    reset_connection,
    respond,
    respond_raw,
)

from .conftest import SECRET_KEY, THINGS, Opener, outcome_kind, reply_to

# --- no answer ---


LOST_RESPONSES: dict[str, ScriptStep] = {
    "reset": reset_connection,
    "hang up": close_connection,
    "half a body": respond(200, b'{"errorEntries": [', length=100),
    "a whole JSON as half a body": respond(200, b"{}", length=100),
    "no last chunk": respond_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "half a head": respond_raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
}


async def test_a_lost_answer_is_perhaps_sent(transport: Transport, server: ScriptedServer) -> None:
    """When the connection ends in or before the answer, the request counts as perhaps sent, and is not repeated."""
    observed = {name: outcome_kind(await reply_to(transport, server, step)) for name, step in LOST_RESPONSES.items()}
    assert observed == dict.fromkeys(LOST_RESPONSES, ("reset", True))
    assert len(server.requests) == len(LOST_RESPONSES)


@pytest.mark.parametrize(
    "step",
    [never_respond, respond_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", close=False)],
    ids=["no answer", "an answer that stops"],
)
async def test_a_call_that_hangs_is_cut(opener: Opener, server: ScriptedServer, keys: None, step: ScriptStep) -> None:
    """After the request timeout the request counts as perhaps sent, and its connection is not kept."""
    server.set_script(respond(), step)
    async with opener(ConnectionConfig(endpoint_url=server.url, request_timeout=0.3)) as transport:
        await transport.send("core", THINGS)  # the first call also pays for the TLS context
        reply = await transport.send("core", THINGS)
        assert isinstance(reply, NoResponse)
        assert (reply.kind, reply.sent) == ("timeout", True)
        await asyncio.wait_for(server.idle.wait(), 2)


async def test_a_slow_drip_is_cut_too(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """The limit is on the whole request: bytes that keep coming do not extend it."""

    async def drip(_request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.05)

    server.set_script(respond(), drip)
    async with opener(ConnectionConfig(endpoint_url=server.url, request_timeout=0.3)) as transport:
        await transport.send("core", THINGS)
        reply = await asyncio.wait_for(transport.send("core", THINGS), 2)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("timeout", True)


async def test_connection_refused_is_not_sent(opener: Opener, keys: None) -> None:
    """Where nobody listens it is certain that nothing was sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with opener(ConnectionConfig(endpoint_url=url)) as transport:
            reply = await transport.send("core", THINGS)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("connect", False)


@pytest.mark.parametrize(("connect_timeout", "request_timeout", "kind"), [(0.1, 5.0, "connect"), (5.0, 0.1, "timeout")])
async def test_no_connection_in_time_is_not_sent(
    opener: Opener,
    server: ScriptedServer,
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
    connection = ConnectionConfig(
        endpoint_url=server.url, connect_timeout=connect_timeout, request_timeout=request_timeout
    )
    async with opener(connection) as transport:
        reply = await asyncio.wait_for(transport.send("core", THINGS), 2)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == (kind, False)


async def test_an_unknown_host_is_not_sent(opener: Opener, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve is told as such, and nothing was sent."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with opener(ConnectionConfig(endpoint_url="http://nowhere.invalid")) as transport:
        reply = await transport.send("core", THINGS)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("dns", False)


async def test_a_failed_tls_handshake_is_not_sent(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """A peer that does not speak TLS has not seen the request."""
    server.set_script(respond_raw(b"no TLS here\r\n\r\n"))
    async with opener(
        ConnectionConfig(endpoint_url=server.url.replace("http:", "https:"), request_timeout=2)
    ) as transport:
        sending = asyncio.create_task(transport.send("core", THINGS))
        await asyncio.wait_for(server.connection_accepted.wait(), 2)
        for writer in list(server.open_connections):
            writer.write(b"this is no TLS\r\n\r\n")
        reply = await sending
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("tls", False)


async def test_a_proxy_that_is_down_is_not_sent(
    opener: Opener, server: ScriptedServer, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is used; when it is down nothing was sent, and its password is in no message."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter2@127.0.0.1:{unused.getsockname()[1]}")
        async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
            reply = await transport.send("core", THINGS)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("proxy", False)
    assert "hunter2" not in repr(reply)
    assert server.requests == []


# --- cancellation ---


async def test_cancelling_leaks_no_connection(transport: Transport, server: ScriptedServer) -> None:
    """A cancelled call raises CancelledError, its connection ends, and the next call works."""
    server.set_script(never_respond, respond())
    sending = asyncio.create_task(transport.send("core", THINGS))
    await asyncio.wait_for(server.request_received.wait(), 2)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(server.idle.wait(), 2)
    assert await transport.send("core", THINGS) == Accepted()


async def test_cancelling_frees_the_pool(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """With one connection allowed, cancelled calls, whether they held it or waited for it, leave it to the next."""
    server.set_script(never_respond, respond())
    async with opener(ConnectionConfig(endpoint_url=server.url, max_connections=1, request_timeout=2)) as transport:
        sending = [asyncio.create_task(transport.send("core", THINGS)) for _ in range(3)]
        await asyncio.wait_for(server.request_received.wait(), 2)
        for task in sending:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*sending, return_exceptions=True)
        )
        assert await transport.send("core", THINGS) == Accepted()


async def test_closing_ends_every_connection(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """After the block no connection is left."""
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        await asyncio.gather(*(transport.send("core", THINGS) for _ in range(4)))
        assert server.open_connections
    await asyncio.wait_for(server.idle.wait(), 2)


# --- credentials ---

EXPIRED = respond(
    403,
    {"message": "The security token included in the request is expired"},
    {"x-amzn-errortype": "ExpiredTokenException"},
)


def _write_keys(home: Path, key: str) -> None:
    (home / "credentials").write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET_KEY}\n")


async def test_no_credentials(opener: Opener, server: ScriptedServer) -> None:
    """Without credentials opening fails with what to do, and nothing is asked."""
    with pytest.raises(CredentialsError, match=r"no AWS credentials.*aws sso login"):
        async with opener(ConnectionConfig(endpoint_url=server.url)):
            pass
    assert server.requests == []


async def test_expired_then_refreshed(opener: Opener, server: ScriptedServer, home: Path) -> None:
    """A refusal for expired credentials is an ordinary Refused; after a refresh the file's new ones sign."""
    _write_keys(home, "AKIAOLD")
    server.set_script(EXPIRED, respond())
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        refreshable: Refreshable = transport
        reply = await transport.send("core", THINGS)
        assert isinstance(reply, ErrorResponse)
        assert reply.code == "ExpiredTokenException"
        _write_keys(home, "AKIANEW")
        await refreshable.refresh()
        assert await transport.send("core", THINGS) == Accepted()
    assert ["AKIAOLD/" in request.headers["authorization"] for request in server.requests] == [True, False]
    assert "AKIANEW/" in server.requests[1].headers["authorization"]


async def test_refresh_without_new_credentials(opener: Opener, server: ScriptedServer, home: Path) -> None:
    """When the source still gives what was refused, or nothing, refresh says so in one sentence without the secret."""
    _write_keys(home, "AKIAOLD")
    server.set_script(EXPIRED)
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        await transport.send("core", THINGS)
        with pytest.raises(CredentialsError, match="still returns the same") as same_error:
            await transport.refresh()
        (home / "credentials").unlink()
        with pytest.raises(CredentialsError, match="no AWS credentials") as missing_error:
            await transport.refresh()
    for message in (str(same_error.value), str(missing_error.value)):
        assert "\n" not in message
        assert SECRET_KEY not in message


async def test_a_late_refusal_does_not_condemn_new_credentials(
    opener: Opener, server: ScriptedServer, home: Path
) -> None:
    """A refusal of the old credentials that arrives after the refresh lets the next refresh keep the new ones."""
    _write_keys(home, "AKIAOLD")
    late = asyncio.Event()

    async def slowly(request: Any, writer: asyncio.StreamWriter) -> None:
        await late.wait()
        await EXPIRED(request, writer)

    server.set_script(slowly)
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        sending = asyncio.create_task(transport.send("core", THINGS))
        await asyncio.wait_for(server.request_received.wait(), 2)
        _write_keys(home, "AKIANEW")
        await transport.refresh()
        late.set()
        assert isinstance(await sending, ErrorResponse)
        await transport.refresh()


async def test_no_secret_shows(transport: Transport, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the repr nor the log, at its wordiest, holds the secret key."""
    caplog.set_level("DEBUG")
    server.set_script(EXPIRED)
    reply = await transport.send("core", THINGS)
    assert SECRET_KEY not in repr(transport) + repr(reply) + repr(vars(transport)) + caplog.text
