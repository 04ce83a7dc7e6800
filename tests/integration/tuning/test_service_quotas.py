"""Tests of asyncgg.tuning.service_quotas against a stub on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from asyncgg.transport import ConnectionConfig
from asyncgg.tuning.service_quotas import applied_iot_rates, applied_quota
from tests.integration.cli.conftest import aws_environment

__all__ = ["aws_environment"]  # an autouse fixture

CUSTOM = ConnectionConfig(region="eu-west-1", endpoint_url="http://127.0.0.1:9")


class ServiceQuotasStub:
    """A stub of the GetServiceQuota API."""

    def __init__(self) -> None:
        self.status = 200
        self.response: Any = {"Quota": {"Value": 30.0}}
        self.requests: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        """Record a request and return the response."""
        self.requests.append({"target": request.headers["x-amz-target"], **await request.json()})
        return web.Response(
            status=self.status, body=json.dumps(self.response), headers={"Content-Type": "application/x-amz-json-1.1"}
        )


@pytest_asyncio.fixture
async def stub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServiceQuotasStub]:
    """The stub on loopback, configured as the endpoint of Service Quotas."""
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


async def test_applied_quota_uses_given_or_default_code(stub: ServiceQuotasStub) -> None:
    """The request has the quota code of a throttle, otherwise the probable one."""
    assert await applied_quota(CUSTOM, "L-1") == (30.0, "")
    assert await applied_quota(CUSTOM) == (30.0, "")
    assert [request["QuotaCode"] for request in stub.requests] == ["L-1", "L-7A577824"]
    assert {request["ServiceCode"] for request in stub.requests} == {"greengrass"}
    assert {request["target"] for request in stub.requests} == {"ServiceQuotasV20190624.GetServiceQuota"}


@pytest.mark.parametrize(
    ("status", "response", "message"),
    [
        (400, {"__type": "AccessDeniedException", "Message": "not allowed"}, "AccessDeniedException"),
        (400, {"__type": "NoSuchResourceException", "Message": "no such quota"}, "NoSuchResourceException"),
        (200, {"Quota": {}}, "unreadable"),
    ],
)
async def test_applied_quota_error_is_returned_as_reason(
    stub: ServiceQuotasStub, status: int, response: Any, message: str
) -> None:
    """An error and an invalid response are reasons, without a retry."""
    stub.status, stub.response = status, response
    value, reason = await applied_quota(CUSTOM)
    assert value is None
    assert message in reason
    assert len(stub.requests) == 1


async def test_applied_quota_custom_endpoint_is_not_checked() -> None:
    """With a custom Greengrass endpoint and no endpoint for Service Quotas nothing is called."""
    value, reason = await applied_quota(CUSTOM)
    assert value is None
    assert "custom endpoint" in reason


async def test_applied_iot_rates_reads_the_named_operations(stub: ServiceQuotasStub) -> None:
    """Only quotas of requests to the operations count, by their names in Service Quotas."""
    names = {"UpdateCertificate API TPS": 25.0, "DeleteThing API TPS": 0.0, "Maximum thing name size": 128.0}
    stub.response = {"Quotas": [{"QuotaName": name, "Value": value} for name, value in names.items()]}
    assert await applied_iot_rates(CUSTOM, ["UpdateCertificate", "DeleteThing"]) == ({"UpdateCertificate": 25.0}, "")
    assert [(request["ServiceCode"], request["MaxResults"]) for request in stub.requests] == [("iotcore", 100)]
    stub.status, stub.response = 400, {"__type": "AccessDeniedException", "Message": "not allowed"}
    rates, reason = await applied_iot_rates(CUSTOM, ["UpdateCertificate"])
    assert rates is None
    assert "AccessDeniedException" in reason
