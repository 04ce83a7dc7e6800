"""Rule: what is asked of STS is tested here: identity and assumed roles, against moto and scripted answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from asyncgg.errors import CredentialsError, ServiceError
from asyncgg.models import Accepted
from asyncgg.transport import ConnectionConfig, get_caller_identity, open_transport
from tests.support.scripted_server import ScriptedServer, ScriptStep, close_connection, respond

from .conftest import THINGS

ROLE_PROFILE = (
    "[profile role]\nrole_arn = arn:aws:iam::210987654321:role/operator\nsource_profile = base\nregion = eu-west-1\n"
)
CREDENTIALS_FILE = "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = hunter2\n"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """A moto server's URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def test_who_am_i(moto: str, keys: None) -> None:
    """Account and ARN are those STS gives; with a custom endpoint STS is asked there."""
    caller = await get_caller_identity(ConnectionConfig(endpoint_url=moto))
    assert (caller.account, caller.endpoint) == ("123456789012", moto)
    assert caller.arn.startswith("arn:aws:")


async def test_sts_may_have_its_own_endpoint(
    moto: str, keys: None, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_ENDPOINT_URL_STS says where STS is asked; AWS_ENDPOINT_URL does not lead away from a given endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
    assert (await get_caller_identity(ConnectionConfig())).endpoint == moto
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    assert (await get_caller_identity(ConnectionConfig(endpoint_url=moto))).endpoint == moto
    assert server.requests == []


async def test_an_assumed_role_signs(
    moto: str, home: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a role in the profile requests carry the role's session token, and a refresh assumes the role anew."""
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


async def test_a_role_that_may_not_be_assumed(
    home: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused AssumeRole is told with the service's words, and is not taken for an answer of Greengrass."""
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
    ("step", "error", "words"),
    [
        (
            _sts_error(403, "ExpiredToken", "it is expired"),
            CredentialsError,
            "rejected the credentials: STS: ExpiredToken",
        ),
        (_sts_error(403, "InvalidClientTokenId", "invalid"), CredentialsError, "InvalidClientTokenId"),
        (_sts_error(404, "NotFound", "no STS here"), ServiceError, "NotFound"),
        (respond(200, b"{}"), ServiceError, "STS GetCallerIdentity at http"),
        (respond(200, b"<GetCallerIdentityResponse/>"), ServiceError, "unreadable response"),
        (respond(200, b"<R><GetCallerIdentityResult/></R>"), ServiceError, "has no account"),
        (respond(307, b"", {"Location": "http://127.0.0.1:9/"}), ServiceError, "STS"),
        (close_connection, ServiceError, "STS GetCallerIdentity"),
    ],
)
async def test_an_identity_that_is_not_told(
    keys: None,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    step: ScriptStep,
    error: type[Exception],
    words: str,
) -> None:
    """Refused credentials are the caller's to renew; anything else that is no answer is the service's fault."""
    monkeypatch.setattr("asyncgg.transport.sts._ATTEMPTS", 1)
    server.set_script(step)
    with pytest.raises(error, match=words) as caught:
        await get_caller_identity(ConnectionConfig(endpoint_url=server.url))
    assert "\n" not in str(caught.value)


async def test_no_credentials_no_question(server: ScriptedServer) -> None:
    """Without credentials nobody is asked."""
    with pytest.raises(CredentialsError, match="no AWS credentials"):
        await get_caller_identity(ConnectionConfig(endpoint_url=server.url))
    assert server.requests == []
