"""Tests of asyncgg.transport.credentials."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as aws
from botocore.credentials import ReadOnlyCredentials

from asyncgg.errors import CredentialsError, CredentialsUnreachableError
from asyncgg.models import Accepted
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.credentials import CredentialSource
from tests.support.scripted_server import ScriptedServer

from .conftest import SECRET_KEY, THINGS, Opener


def _keys(name: str) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(name, "secret", None, None)


class ScriptedSource(CredentialSource):
    """A source on the clock of the loop, which starts at 0.

    Each load but the first takes `seconds`; it returns or raises the next result.
    """

    def __init__(self, *results: tuple[str, float] | Exception, seconds: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        super().__init__(None, None, lambda: loop.time() - start)
        self.results = list(results)
        self.seconds = seconds
        self.loads: list[float] = []
        """When each load began."""

    async def _load_once(self, codes: object, roles: object) -> tuple[ReadOnlyCredentials, float]:
        self.loads.append(self._clock())
        await asyncio.sleep(self.seconds if len(self.loads) > 1 else 0)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return _keys(result[0]), result[1]

    async def use_for(self, seconds: float) -> list[str]:
        """Get the credentials each second; returns their access keys."""
        used = []
        for _ in range(int(seconds)):
            keys = self.current()
            used.append(keys.access_key if keys else "")
            await asyncio.sleep(1)
        return used


@pytest.mark.virtual
async def test_current_same_credentials_are_renewed_each_minute() -> None:
    """A source that returns the same credentials is called once a minute until they expire."""
    source = ScriptedSource(("old", 300.0))
    await source.open()
    assert await source.use_for(299) == ["old"] * 299
    assert source.loads == [0.0, 60.0, 120.0, 180.0, 240.0]


@pytest.mark.virtual
async def test_current_renewal_is_in_the_background() -> None:
    """The old credentials are used during a slow renewal, one at a time, then the new ones."""
    source = ScriptedSource(("old", 1000.0), ("new", 9000.0), seconds=30.0)
    await source.open()
    assert await source.use_for(200) == ["old"] * 130 + ["new"] * 70
    assert source.loads == [0.0, 100.0]
    assert source.generation == 1


@pytest.mark.virtual
async def test_current_short_lifetime_is_renewed_in_time() -> None:
    """Credentials that live less than two minutes are renewed before they expire."""
    source = ScriptedSource(("1", 40.0), ("2", 80.0), ("3", 120.0), seconds=5.0)
    await source.open()
    assert "" not in await source.use_for(119)
    assert len(source.loads) <= 6


@pytest.mark.virtual
@pytest.mark.parametrize("error", [aws.SSOTokenLoadError(error_msg="m"), aws.ReadTimeoutError(endpoint_url="u")])
async def test_current_failed_renewal_keeps_valid_credentials(error: Exception) -> None:
    """A renewal that fails in the background is repeated after a minute; only expiry raises."""
    source = ScriptedSource(("old", 130.0), error)
    await source.open()
    assert await source.use_for(130) == ["old"] * 130
    assert source.loads == [0.0, 60.0, 120.0]
    assert source.current() is None
    with pytest.raises(CredentialsError, match="cannot renew the AWS credentials"):
        await source.get_frozen_credentials()


@pytest.mark.virtual
async def test_get_frozen_credentials_expired_waits_for_one_renewal() -> None:
    """After the expiry concurrent calls wait for one renewal."""
    source = ScriptedSource(("old", 10.0), ("new", math.inf), seconds=20.0)
    await source.open()
    await asyncio.sleep(11)
    keys = await asyncio.gather(*(source.get_frozen_credentials() for _ in range(5)))
    assert {key.access_key for key in keys} == {"new"}
    assert len(source.loads) == 2


async def test_send_expired_credentials_are_not_a_request(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """The wait for a renewal is left to `refresh`, so that the time limit of a request has no part in it."""
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        transport._source._expires = 0.0
        with pytest.raises(CredentialsError, match="expired"):
            await transport.send("core", THINGS)
        assert server.requests == []
        await transport.refresh()
        assert await transport.send("core", THINGS) == Accepted()


def _client_error(status: int, code: str) -> aws.ClientError:
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return aws.ClientError(response, "AssumeRole")


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


@pytest.mark.parametrize("error", [*TRANSIENT_ERRORS, *PERMANENT_ERRORS], ids=repr)
async def test_renew_source_error_raises_one_line(error: Exception) -> None:
    """The error is one line without a secret, and shows whether a later renewal can succeed."""
    source = ScriptedSource(("old", math.inf), error, ("new", math.inf))
    await source.open()
    with pytest.raises(CredentialsError, match="cannot renew the AWS credentials: ") as caught:
        await source.renew()
    assert isinstance(caught.value, CredentialsUnreachableError) == (error in TRANSIENT_ERRORS)
    assert "\n" not in str(caught.value)
    assert SECRET_KEY not in str(caught.value)
    await source.renew()
    assert source.current() == _keys("new")


async def test_renew_concurrent_calls_share_one_load(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent renewals load the credentials once."""
    source = CredentialSource(None, "eu-west-1")
    await source.open()
    loads = 0
    load = source._load_once

    async def count_and_load(*arguments: Any) -> Any:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0)
        return await load(*arguments)

    monkeypatch.setattr(source, "_load_once", count_and_load)
    await asyncio.gather(*(source.renew() for _ in range(5)))
    assert (loads, source.generation) == (1, 1)
    await source.renew()
    assert (loads, source.generation) == (2, 2)
    assert SECRET_KEY not in repr(source)


async def test_open_and_renew_hanging_source_time_out(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the timeout of the source."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("asyncgg.transport.credentials._LOAD_TIMEOUT", 0.05)
    source = CredentialSource(None, "eu-west-1")
    monkeypatch.setattr(CredentialSource, "_load_once", never)
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
