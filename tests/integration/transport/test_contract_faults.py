"""Contract of all transports: lost responses, cancellation and credentials."""

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

# --- no response ---


LOST_RESPONSES: dict[str, ScriptStep] = {
    "reset": reset_connection,
    "hang up": close_connection,
    "half a body": respond(200, b'{"errorEntries": [', length=100),
    "a whole JSON as half a body": respond(200, b"{}", length=100),
    "no last chunk": respond_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "half a head": respond_raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
}


async def test_send_lost_response_is_possibly_sent(transport: Transport, server: ScriptedServer) -> None:
    """A request whose connection ends in or before the response is not retried."""
    observed = {name: outcome_kind(await reply_to(transport, server, step)) for name, step in LOST_RESPONSES.items()}
    assert observed == dict.fromkeys(LOST_RESPONSES, ("reset", True))
    assert len(server.requests) == len(LOST_RESPONSES)


@pytest.mark.parametrize(
    "step",
    [never_respond, respond_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", close=False)],
    ids=["no response", "a response that stops"],
)
async def test_send_times_out_and_closes_connection(
    opener: Opener, server: ScriptedServer, keys: None, step: ScriptStep
) -> None:
    """After the request timeout the request counts as possibly sent."""
    server.set_script(respond(), step)
    async with opener(ConnectionConfig(endpoint_url=server.url, request_timeout=0.3)) as transport:
        await transport.send("core", THINGS)  # the first call also pays for the TLS context
        reply = await transport.send("core", THINGS)
        assert isinstance(reply, NoResponse)
        assert (reply.kind, reply.sent) == ("timeout", True)
        await asyncio.wait_for(server.idle.wait(), 2)


async def test_send_slow_response_times_out(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """The timeout is for the whole request: received bytes do not extend it."""

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


async def test_send_connection_refused_is_not_sent(opener: Opener, keys: None) -> None:
    """A refused connection proves that nothing was sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with opener(ConnectionConfig(endpoint_url=url)) as transport:
            reply = await transport.send("core", THINGS)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("connect", False)


@pytest.mark.parametrize(("connect_timeout", "request_timeout", "kind"), [(0.1, 5.0, "connect"), (5.0, 0.1, "timeout")])
async def test_send_connect_timeout_is_not_sent(
    opener: Opener,
    server: ScriptedServer,
    keys: None,
    monkeypatch: pytest.MonkeyPatch,
    connect_timeout: float,
    request_timeout: float,
    kind: str,
) -> None:
    """Without a connection nothing was sent, whichever timeout ends the wait."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", hang)
    connection = ConnectionConfig(
        endpoint_url=server.url, connect_timeout=connect_timeout, request_timeout=request_timeout
    )
    async with opener(connection) as transport:
        reply = await asyncio.wait_for(transport.send("core", THINGS), 2)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == (kind, False)


async def test_send_unknown_host_is_not_sent(opener: Opener, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve is a DNS error, and nothing was sent."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with opener(ConnectionConfig(endpoint_url="http://missing.invalid")) as transport:
        reply = await transport.send("core", THINGS)
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("dns", False)


async def test_send_failed_tls_handshake_is_not_sent(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """A peer without TLS did not receive the request."""
    server.set_script(respond_raw(b"no TLS here\r\n\r\n"))
    async with opener(
        ConnectionConfig(endpoint_url=server.url.replace("http:", "https:"), request_timeout=2)
    ) as transport:
        sending = asyncio.create_task(transport.send("core", THINGS))
        await asyncio.wait_for(server.connection_accepted.wait(), 2)
        for writer in list(server.open_connections):
            writer.write(b"not TLS\r\n\r\n")
        reply = await sending
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == ("tls", False)


async def test_send_unreachable_proxy_is_not_sent(
    opener: Opener, server: ScriptedServer, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, and the password of the proxy is not in the message."""
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


async def test_send_cancelled_closes_connection(transport: Transport, server: ScriptedServer) -> None:
    """A cancelled call raises CancelledError, its connection closes, and the next call works."""
    server.set_script(never_respond, respond())
    sending = asyncio.create_task(transport.send("core", THINGS))
    await asyncio.wait_for(server.request_received.wait(), 2)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(server.idle.wait(), 2)
    assert await transport.send("core", THINGS) == Accepted()


async def test_send_cancelled_releases_pool(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """Cancelled calls release the only connection, whether they used it or waited for it."""
    server.set_script(never_respond, respond())
    async with opener(ConnectionConfig(endpoint_url=server.url, max_connections=1, request_timeout=2)) as transport:
        sending = [asyncio.create_task(transport.send("core", THINGS)) for _ in range(3)]
        await asyncio.wait_for(server.request_received.wait(), 2)
        for task in sending:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*sending, return_exceptions=True)
        )
        assert await transport.send("core", THINGS) == Accepted()


async def test_close_closes_every_connection(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """No connection remains after the block."""
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


async def test_open_without_credentials_raises(opener: Opener, server: ScriptedServer) -> None:
    """The error has a fix, and nothing is sent."""
    with pytest.raises(CredentialsError, match=r"no AWS credentials.*aws sso login"):
        async with opener(ConnectionConfig(endpoint_url=server.url)):
            pass
    assert server.requests == []


async def test_refresh_after_expiry_uses_new_credentials(opener: Opener, server: ScriptedServer, home: Path) -> None:
    """Expired credentials are an `ErrorResponse`; after a refresh the new ones sign."""
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


async def test_refresh_without_new_credentials_raises(opener: Opener, server: ScriptedServer, home: Path) -> None:
    """The error for rejected or missing credentials is one line without the secret key."""
    _write_keys(home, "AKIAOLD")
    server.set_script(EXPIRED)
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        await transport.send("core", THINGS)
        with pytest.raises(CredentialsError, match="still returns the same") as same_error:
            await transport.refresh()
        (home / "credentials").unlink()
        with pytest.raises(CredentialsError, match="cannot renew the AWS credentials: none found") as missing_error:
            await transport.refresh()
    for message in (str(same_error.value), str(missing_error.value)):
        assert "\n" not in message
        assert SECRET_KEY not in message


async def test_late_rejection_does_not_affect_new_credentials(
    opener: Opener, server: ScriptedServer, home: Path
) -> None:
    """A rejection of the old credentials after a refresh does not reject the new ones."""
    _write_keys(home, "AKIAOLD")
    late = asyncio.Event()

    async def respond_late(request: Any, writer: asyncio.StreamWriter) -> None:
        await late.wait()
        await EXPIRED(request, writer)

    server.set_script(respond_late)
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        sending = asyncio.create_task(transport.send("core", THINGS))
        await asyncio.wait_for(server.request_received.wait(), 2)
        _write_keys(home, "AKIANEW")
        await transport.refresh()
        late.set()
        assert isinstance(await sending, ErrorResponse)
        await transport.refresh()


async def test_secret_key_is_not_in_repr_and_log(
    transport: Transport, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the repr nor the debug log contains the secret key."""
    caplog.set_level("DEBUG")
    server.set_script(EXPIRED)
    reply = await transport.send("core", THINGS)
    assert SECRET_KEY not in repr(transport) + repr(reply) + repr(vars(transport)) + caplog.text
