"""Tests of asyncgg.transport.credentials."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as aws
from botocore.credentials import ReadOnlyCredentials

from asyncgg.errors import CredentialsError
from asyncgg.models import Accepted, NoResponse
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.credentials import CredentialSource
from tests.support.scripted_server import ScriptedServer

from .conftest import SECRET_KEY, THINGS, Opener


class FailingCredentials:
    """Credentials that raise an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Raise the error."""
        raise self.error


def _client_error(status: int, code: str) -> aws.ClientError:
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return aws.ClientError(response, "AssumeRole")


def _credential_source(transport: Any) -> Any:
    return transport._source


TRANSIENT_ERRORS = [
    aws.EndpointConnectionError(endpoint_url="https://sts"),
    aws.ReadTimeoutError(endpoint_url="https://sts"),
    _client_error(500, "InternalFailure"),
    _client_error(400, "Throttling"),
]

PERMANENT_ERRORS = [
    _client_error(403, "AccessDenied"),
    aws.UnauthorizedSSOTokenError(),
    aws.SSOTokenLoadError(error_msg="no token"),
    aws.CredentialRetrievalError(provider="custom-process", error_msg="missing"),
    RuntimeError("still expired"),
    KeyError(SECRET_KEY),
    OSError(2, "No such file or directory", "/token"),
]


@pytest.mark.parametrize("error", TRANSIENT_ERRORS, ids=repr)
async def test_send_transient_source_error_is_not_sent(
    opener: Opener, server: ScriptedServer, keys: None, error: Exception
) -> None:
    """An unreachable source during a run is a `NoResponse` that can be retried."""
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        source = _credential_source(transport)
        original, source._credentials = source._credentials, FailingCredentials(error)
        reply = await transport.send("core", THINGS)
        assert isinstance(reply, NoResponse)
        assert (reply.kind, reply.sent) == ("credentials", False)
        source._credentials = original
        assert await transport.send("core", THINGS) == Accepted()
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", PERMANENT_ERRORS, ids=lambda error: type(error).__name__)
async def test_send_permanent_source_error_raises(
    opener: Opener, server: ScriptedServer, keys: None, error: Exception
) -> None:
    """The error is one line with a fix, and nothing is sent."""
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        _credential_source(transport)._credentials = FailingCredentials(error)
        with pytest.raises(CredentialsError, match="aws sso login") as caught:
            await transport.send("core", THINGS)
    assert "\n" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)
    assert server.requests == []


async def test_renew_concurrent_calls_share_one_load(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent renewals load the credentials once."""
    source = CredentialSource(None, "eu-west-1")
    await source.open()
    loads = 0
    load = source._load

    async def count_and_load() -> Any:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0)
        return await load()

    monkeypatch.setattr(source, "_load", count_and_load)
    await asyncio.gather(*(source.renew() for _ in range(5)))
    assert (loads, source.generation) == (1, 1)
    await source.renew()
    assert (loads, source.generation) == (2, 2)
    assert SECRET_KEY not in repr(source)


async def test_open_and_renew_hanging_source_time_out(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the timeout of the source."""

    async def never(_session: object) -> FailingCredentials:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("asyncgg.transport.credentials._LOAD_TIMEOUT", 0.05)
    source = CredentialSource(None, "eu-west-1")
    monkeypatch.setattr("aiobotocore.session.AioSession.get_credentials", never)
    with pytest.raises(CredentialsError, match=r"timed out after 0\.05 s"):
        await CredentialSource(None, "eu-west-1").open()
    with pytest.raises(CredentialsError, match="cannot renew"):
        await source.renew()


async def test_renew_malformed_configuration_raises_credentials_error(keys: None, home: Path) -> None:
    """An unreadable AWS configuration during a renewal is not a usage error."""
    source = CredentialSource(None, "eu-west-1")
    await source.open()
    (home / "config").write_text("[default\n")
    with pytest.raises(
        CredentialsError, match="cannot renew the AWS credentials: the AWS configuration cannot be read"
    ):
        await source.renew()
