"""Rule: how credentials fail and are renewed in the midst of a run is tested here, with sources that fail on demand."""

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
    """Credentials whose next reading raises this."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Fail."""
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
    aws.CredentialRetrievalError(provider="custom-process", error_msg="gone"),
    RuntimeError("still expired"),
    KeyError(SECRET_KEY),
    OSError(2, "No such file or directory", "/token"),
]


@pytest.mark.parametrize("error", TRANSIENT_ERRORS, ids=repr)
async def test_a_passing_fault_of_the_source(
    opener: Opener, server: ScriptedServer, keys: None, error: Exception
) -> None:
    """When the source cannot be reached at a renewal in the run, the request was not sent and may be tried again."""
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        source = _credential_source(transport)
        good, source._credentials = source._credentials, FailingCredentials(error)
        reply = await transport.send("core", THINGS)
        assert isinstance(reply, NoResponse)
        assert (reply.kind, reply.sent) == ("credentials", False)
        source._credentials = good
        assert await transport.send("core", THINGS) == Accepted()
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", PERMANENT_ERRORS, ids=lambda error: type(error).__name__)
async def test_a_lasting_fault_of_the_source(
    opener: Opener, server: ScriptedServer, keys: None, error: Exception
) -> None:
    """When the source refuses at a renewal in the run, send raises one line with what to do, and sends nothing."""
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        _credential_source(transport)._credentials = FailingCredentials(error)
        with pytest.raises(CredentialsError, match="aws sso login") as caught:
            await transport.send("core", THINGS)
    assert "\n" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)
    assert server.requests == []


async def test_renewals_at_the_same_time_are_one(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many workers that ask for a refresh together cause one reading of the source."""
    source = CredentialSource(None, "eu-west-1")
    await source.open()
    loads = 0
    load = source._load

    async def counted() -> Any:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0)
        return await load()

    monkeypatch.setattr(source, "_load", counted)
    await asyncio.gather(*(source.renew() for _ in range(5)))
    assert (loads, source.generation) == (1, 1)
    await source.renew()
    assert (loads, source.generation) == (2, 2)
    assert SECRET_KEY not in repr(source)


async def test_a_source_that_cannot_be_reached_at_first(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening and renewing name a source that does not answer in its time."""

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


async def test_a_configuration_that_broke_in_the_run(keys: None, home: Path) -> None:
    """A renewal that finds the AWS configuration unreadable is told as one of the credentials, not as a wrong call."""
    source = CredentialSource(None, "eu-west-1")
    await source.open()
    (home / "config").write_text("[default\n")
    with pytest.raises(
        CredentialsError, match="cannot renew the AWS credentials: the AWS configuration cannot be read"
    ):
        await source.renew()
