"""Fixtures of the transport tests: AWS environment, server and transports."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from asyncgg.models import NoResponse, Reply
from asyncgg.transport import ConnectionConfig, Transport, open_transport
from tests.support.scripted_server import ScriptedServer, ScriptStep, scripted_server

Opener = Callable[[ConnectionConfig], AbstractAsyncContextManager[Any]]

IMPLEMENTATIONS: dict[str, Opener] = {"sdk": open_transport, "native": partial(open_transport, kind="native")}
"""Every transport must pass test_contract*.py."""

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI-not-a-real-one"

THINGS = ("thing-1", "thing-2")


async def reply_to(transport: Transport, server: ScriptedServer, step: ScriptStep) -> Reply:
    """Send one request to a server that responds with `step`."""
    server.set_script(step)
    return await transport.send("core", THINGS)


def outcome_kind(reply: Reply) -> object:
    """Get kind and `sent` of a `NoResponse`; any other reply is returned unchanged."""
    return (reply.kind, reply.sent) if isinstance(reply, NoResponse) else reply


def has_one_line_detail(reply: Reply) -> bool:
    """Check if a reply is a `NoResponse` with a one-line reason."""
    return isinstance(reply, NoResponse) and bool(reply.detail) and "\n" not in reply.detail


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty AWS home without variables, files and metadata of this machine."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server."""
    async with scripted_server() as running:
        yield running


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def opener(request: pytest.FixtureRequest) -> Opener:
    """Open each transport."""
    return IMPLEMENTATIONS[request.param]


@pytest_asyncio.fixture
async def transport(opener: Opener, server: ScriptedServer, keys: None) -> AsyncIterator[Transport]:
    """An open transport to the server with short timeouts."""
    async with opener(ConnectionConfig(endpoint_url=server.url, request_timeout=2.0, connect_timeout=1.0)) as opened:
        yield opened
