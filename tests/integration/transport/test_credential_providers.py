"""Every provider of credentials, near and after the expiry of what it returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.errors import CredentialsError
from asyncgg.models import Accepted
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.credentials import CredentialSource
from tests.support.credential_providers import PROVIDERS, TEMPORARY, CredentialsServer
from tests.support.scripted_server import ScriptedServer, scripted_server

from .conftest import THINGS, Opener


@pytest.fixture
def sources(home: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> CredentialsServer:
    """The server of all sources; the service itself is another server."""
    return CredentialsServer(home, monkeypatch, server)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_send_near_expiry_uses_valid_credentials(
    opener: Opener, sources: CredentialsServer, provider: str
) -> None:
    """Requests with 5 minutes left use the source once, not for each of them."""
    count = 200 if provider == "process" else 20
    profile = sources.use(provider)
    async with scripted_server() as service:
        async with opener(ConnectionConfig(profile, "eu-west-1", service.url)) as transport:
            assert all([await transport.send("core", THINGS) == Accepted() for _ in range(count)])
        keys = {request.headers["authorization"].split("=")[1].split("/")[0] for request in service.requests}
    assert len(service.requests) == count
    assert len(keys) == 1
    assert sources.loads == (provider in TEMPORARY)


@pytest.mark.parametrize("provider", TEMPORARY)
async def test_renew_fetches_once(sources: CredentialsServer, provider: str) -> None:
    """A renewal takes the new credentials with one call of the source."""
    source = CredentialSource(sources.use(provider), "eu-west-1")
    await source.open()
    loads = sources.loads
    sources.key = "ASIANEW"
    sources.use(provider)
    await source.renew()
    assert sources.loads == loads + 1
    keys = source.current()
    assert keys is not None
    assert keys.access_key == "ASIANEW"


@pytest.mark.parametrize("provider", [name for name in TEMPORARY if name != "metadata"])
async def test_open_expired_credentials_raises_with_date(sources: CredentialsServer, provider: str) -> None:
    """The error names the source and the expiry; botocore extends that of instance metadata itself."""
    sources.lifetime = -60.0
    with pytest.raises(CredentialsError, match=r"expired at 20\d\d-\d\d-\d\dT.*Z; ") as caught:
        await CredentialSource(sources.use(provider), "eu-west-1").open()
    assert "\n" not in str(caught.value)


async def test_renew_with_mfa_does_not_ask_again(
    sources: CredentialsServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role is assumed with one code; later its credentials are used until they expire."""
    prompts: list[str] = []

    async def read(prompt: str) -> str:
        prompts.append(prompt)
        return "123456"

    monkeypatch.setattr("asyncgg.transport.credentials.read_mfa_code", read)
    profile = sources.use("assume-role")
    with (home / "config").open("a") as config:
        config.write("mfa_serial = arn:aws:iam::123456789012:mfa/me\n")
    source = CredentialSource(profile, "eu-west-1")
    await source.open()
    assert prompts == ["Enter MFA code for arn:aws:iam::123456789012:mfa/me: "]
    assert b"TokenCode=123456" in sources.server.requests[0].body
    with pytest.raises(CredentialsError, match=r"cannot renew .* needs another MFA code; run or resume"):
        await source.renew()
    assert source.current() is not None
    assert (len(prompts), sources.loads) == (1, 1)
