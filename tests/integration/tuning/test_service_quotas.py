"""Rule: the quota that Service Quotas tells, from a stub of it on loopback; and that nobody else is ever asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from asyncgg.transport import ConnectionConfig
from asyncgg.tuning.service_quotas import applied_quota
from tests.integration.cli.conftest import surroundings

__all__ = ["surroundings"]  # an autouse fixture: an empty folder, no AWS configuration of the user

CUSTOM = ConnectionConfig(region="eu-west-1", endpoint_url="http://127.0.0.1:9")


class ServiceQuotasStub:
    """What is answered, and what was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.response: Any = {"Quota": {"Value": 30.0}}
        self.requests: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self.requests.append({"target": request.headers["x-amz-target"], **await request.json()})
        return web.Response(
            status=self.status, body=json.dumps(self.response), headers={"Content-Type": "application/x-amz-json-1.1"}
        )


@pytest_asyncio.fixture
async def stub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServiceQuotasStub]:
    """Service Quotas on loopback, configured as its own endpoint."""
    quotas = ServiceQuotasStub()
    app = web.Application()
    app.router.add_post("/", quotas.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", f"http://{host}:{port}")
    yield quotas
    await runner.cleanup()


async def test_the_applied_quota(stub: ServiceQuotasStub) -> None:
    """Asked by the code a throttle named, else by the one that is probably right."""
    assert await applied_quota(CUSTOM, "L-1") == (30.0, "")
    assert await applied_quota(CUSTOM) == (30.0, "")
    assert [one["QuotaCode"] for one in stub.requests] == ["L-1", "L-7A577824"]
    assert {one["ServiceCode"] for one in stub.requests} == {"greengrass"}
    assert {one["target"] for one in stub.requests} == {"ServiceQuotasV20190624.GetServiceQuota"}


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (400, {"__type": "AccessDeniedException", "Message": "not allowed"}, "AccessDeniedException"),
        (400, {"__type": "NoSuchResourceException", "Message": "no such quota"}, "NoSuchResourceException"),
        (200, {"Quota": {}}, "unreadable"),
    ],
)
async def test_what_cannot_be_known_is_a_phrase(stub: ServiceQuotasStub, status: int, answer: Any, words: str) -> None:
    """A refusal or rubbish is told in passing, asked once, and fails nothing."""
    stub.status, stub.response = status, answer
    value, reason = await applied_quota(CUSTOM)
    assert value is None
    assert words in reason
    assert len(stub.requests) == 1


async def test_with_a_custom_endpoint_nobody_else_is_asked() -> None:
    """Without an endpoint of its own Service Quotas is not asked."""
    value, reason = await applied_quota(CUSTOM)
    assert value is None
    assert "nobody else was asked" in reason
