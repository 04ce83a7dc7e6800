"""Contract of all transports: connection pool, proxies, TLS and signatures."""

from __future__ import annotations

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asyncgg.models import Accepted, ErrorResponse
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from asyncgg.transport import ConnectionConfig
from tests.support.scripted_server import ReceivedRequest, ScriptedServer, respond, scripted_server

from .conftest import SECRET_KEY, THINGS, Opener, outcome_kind

# --- connections ---


async def test_send_keeps_to_max_connections(opener: Opener, server: ScriptedServer, keys: None) -> None:
    """Requests beyond the pool wait for a connection."""
    release, full = asyncio.Event(), asyncio.Event()

    async def hold(request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 2:
            full.set()
        await release.wait()
        await respond()(request, writer)

    server.set_script(hold)
    async with opener(ConnectionConfig(endpoint_url=server.url, max_connections=2)) as transport:
        sending = [asyncio.create_task(transport.send("core", THINGS)) for _ in range(5)]
        await asyncio.wait_for(full.wait(), 2)
        await asyncio.sleep(0.05)  # time in which a third connection would be made
        assert len(server.open_connections) == len(server.requests) == 2
        release.set()
        assert await asyncio.gather(*sending) == [Accepted()] * 5
    assert len(server.requests) == 5


# --- proxies ---


async def test_send_uses_proxy(
    opener: Opener, server: ScriptedServer, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment gets the absolute URL and the credentials in its URL."""
    monkeypatch.setenv("HTTP_PROXY", server.url.replace("http://", "http://me:hunter2@"))
    async with opener(ConnectionConfig(endpoint_url="http://greengrass.example")) as transport:
        assert await transport.send("core", THINGS) == Accepted()
    (request,) = server.requests
    assert request.path == "http://greengrass.example/greengrass/v2/coreDevices/core/disassociateClientDevices"
    assert request.headers["host"] == "greengrass.example"
    assert request.headers["proxy-authorization"] == f"Basic {base64.b64encode(b'me:hunter2').decode()}"


async def test_send_no_proxy_connects_directly(
    opener: Opener, server: ScriptedServer, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint in NO_PROXY is called directly."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
        assert await transport.send("core", THINGS) == Accepted()


async def test_send_proxy_rejects_tunnel_is_not_sent(
    opener: Opener, server: ScriptedServer, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy without a tunnel to an https endpoint is a proxy error, and nothing was sent."""
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    server.set_script(respond(407, b""))
    async with opener(ConnectionConfig(endpoint_url="https://greengrass.example")) as transport:
        assert outcome_kind(await transport.send("core", THINGS)) == ("proxy", False)
    assert [request.method for request in server.requests] == ["CONNECT"]


# --- TLS ---


def _certificate(folder: Path) -> ssl.SSLContext:
    """Create a self-signed certificate for 127.0.0.1 as ca.pem in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


async def test_send_private_ca_requires_bundle(
    opener: Opener, keys: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the CA bundle of the server nothing is sent."""
    async with scripted_server(_certificate(home)) as server:
        async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
            assert outcome_kind(await transport.send("core", THINGS)) == ("tls", False)
        assert server.requests == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(home / "ca.pem"))
        async with opener(ConnectionConfig(endpoint_url=server.url)) as transport:
            assert await transport.send("core", THINGS) == Accepted()


# --- a service that verifies signatures ---


@pytest.mark.parametrize("token", ["", "a/session+token=="])
async def test_send_signature_is_verified(
    opener: Opener, keys: None, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """A service accepts requests with the right secret key only, also for cores with colons."""
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    spec = FleetSpec.from_things({"core:1": ["a", "b:c"], "core-2": ["d"]}, now=0.0)
    config = SimulatorConfig(latency_ms=0, rate=float("inf"), secret_key=SECRET_KEY, max_clock_skew=60)
    async with Simulator(config, fleet_spec=spec) as simulator:
        async with opener(ConnectionConfig(endpoint_url=simulator.url)) as transport:
            reply = await transport.send("core:1", ("a", "b:c", "missing"))
            assert isinstance(reply, Accepted)
            assert [error.thing for error in reply.errors] == ["missing"]
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        async with opener(ConnectionConfig(endpoint_url=simulator.url)) as transport:
            reply = await transport.send("core-2", ("d",))
            assert isinstance(reply, ErrorResponse)
            assert (reply.status, reply.code) == (403, "InvalidSignatureException")
        assert {core: set(things) for core, things in simulator.service.fleet.things.items()} == {
            "core:1": set(),
            "core-2": {"d"},
        }
