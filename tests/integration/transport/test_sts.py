"""Tests of asyncgg.transport.sts and of assumed roles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncgg.errors import CredentialsError, ServiceError
from asyncgg.models import Accepted
from asyncgg.transport import ConnectionConfig, get_caller_identity, open_transport
from tests.support.moto_server import moto_server
from tests.support.scripted_server import ReceivedRequest, ScriptedServer, ScriptStep, close_connection, respond

from .conftest import THINGS

ROLE_PROFILE = (
    "[profile role]\nrole_arn = arn:aws:iam::210987654321:role/operator\nsource_profile = base\nregion = eu-west-1\n"
)
CREDENTIALS_FILE = "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = hunter2\n"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of a moto server."""
    with moto_server() as url:
        yield url


async def test_get_caller_identity_custom_endpoint_is_called(moto: str, keys: None) -> None:
    """STS is called at the custom endpoint."""
    caller = await get_caller_identity(ConnectionConfig(endpoint_url=moto))
    assert (caller.account, caller.endpoint) == ("123456789012", moto)
    assert caller.arn.startswith("arn:aws:")


async def test_get_caller_identity_sts_endpoint_has_precedence(
    moto: str, keys: None, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_ENDPOINT_URL_STS has precedence; AWS_ENDPOINT_URL does not override an argument."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
    assert (await get_caller_identity(ConnectionConfig())).endpoint == moto
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    assert (await get_caller_identity(ConnectionConfig(endpoint_url=moto))).endpoint == moto
    assert server.requests == []


async def _respond_without_end(_request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0)


async def test_get_caller_identity_response_without_end_fails(
    keys: None, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No single read of such a response takes long."""
    monkeypatch.setattr("asyncgg.transport.sts._SINGLE_ATTEMPT_TIMEOUT", 0.2)
    server.set_script(_respond_without_end)
    with pytest.raises(ServiceError, match="no complete answer in time"):
        await get_caller_identity(ConnectionConfig(endpoint_url=server.url, connect_timeout=0.2), single_attempt=True)


async def test_assumed_role_signs_and_is_refreshed(
    moto: str, home: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests have the session token of the role, and a refresh assumes the role again."""
    (home / "config").write_text(ROLE_PROFILE)
    (home / "credentials").write_text(CREDENTIALS_FILE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
    connection = ConnectionConfig(profile="role", endpoint_url=server.url)
    assert (await get_caller_identity(connection)).arn.startswith("arn:aws:sts::210987654321:assumed-role/operator/")
    async with open_transport(connection) as transport:
        assert await transport.send("core", THINGS) == Accepted()
        await transport.refresh()
        assert await transport.send("core", THINGS) == Accepted()
    tokens = [request.headers["x-amz-security-token"] for request in server.requests]
    assert len(set(tokens)) == 2
    assert all("Credential=ASIA" in request.headers["authorization"] for request in server.requests)


async def test_open_transport_denied_role_raises(
    home: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a denied AssumeRole has the message of STS."""
    (home / "config").write_text(ROLE_PROFILE)
    (home / "credentials").write_text(CREDENTIALS_FILE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    server.set_script(_sts_error(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"))
    with pytest.raises(CredentialsError, match="AssumeRole failed: AccessDenied: not authorized") as caught:
        async with open_transport(ConnectionConfig(profile="role", endpoint_url=server.url)):
            pass
    assert "hunter2" not in str(caught.value)


def _sts_error(status: int, code: str, message: str) -> ScriptStep:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return respond(status, body.encode(), {"Content-Type": "text/xml"})


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (
            _sts_error(403, "ExpiredToken", "it is expired"),
            CredentialsError,
            "rejected the credentials: STS: ExpiredToken",
        ),
        (_sts_error(403, "InvalidClientTokenId", "invalid"), CredentialsError, "InvalidClientTokenId"),
        (
            respond(403, b"<html><body>Sign in</body></html>", {"Content-Type": "text/html"}),
            ServiceError,
            r"HTTP 403 Forbidden \(text/html\), not from STS; check proxy and endpoint",
        ),
        (
            _sts_error(403, "AccessDenied", "by the policy of a VPC endpoint"),
            ServiceError,
            "cannot look up.*AccessDenied",
        ),
        (_sts_error(404, "NotFound", "no STS here"), ServiceError, "NotFound"),
        (respond(200, b"{}"), ServiceError, "STS GetCallerIdentity at http"),
        (respond(200, b"<GetCallerIdentityResponse/>"), ServiceError, "unreadable response"),
        (respond(200, b"<R><GetCallerIdentityResult/></R>"), ServiceError, "has no account"),
        (respond(307, b"", {"Location": "http://127.0.0.1:9/"}), ServiceError, "STS"),
        (close_connection, ServiceError, "STS GetCallerIdentity"),
    ],
)
async def test_get_caller_identity_error_response_raises(
    keys: None,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    step: ScriptStep,
    error: type[Exception],
    message: str,
) -> None:
    """Rejected credentials are a `CredentialsError`, other failures a `ServiceError`."""
    monkeypatch.setattr("asyncgg.transport.sts._ATTEMPTS", 1)
    server.set_script(step)
    with pytest.raises(error, match=message) as caught:
        await get_caller_identity(ConnectionConfig(endpoint_url=server.url))
    assert "\n" not in str(caught.value)


async def test_get_caller_identity_without_credentials_sends_nothing(server: ScriptedServer) -> None:
    """Without credentials no request is sent."""
    with pytest.raises(CredentialsError, match="no AWS credentials"):
        await get_caller_identity(ConnectionConfig(endpoint_url=server.url))
    assert server.requests == []


async def test_get_caller_identity_single_attempt_asks_once(keys: None, server: ScriptedServer) -> None:
    """If the answer is not necessary, STS is asked once, and its rejection is not one of the credentials."""
    server.set_script(_sts_error(403, "ExpiredToken", "it is expired"))
    with pytest.raises(ServiceError, match="cannot look up the AWS account: STS: ExpiredToken"):
        await get_caller_identity(ConnectionConfig(endpoint_url=server.url), single_attempt=True)
    server.set_script(close_connection)
    with pytest.raises(ServiceError, match="STS GetCallerIdentity"):
        await get_caller_identity(ConnectionConfig(endpoint_url=server.url), single_attempt=True)
    assert len(server.requests) == 2
