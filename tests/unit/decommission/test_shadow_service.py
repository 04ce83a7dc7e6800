"""Where shadows are asked for: at the data endpoint of the account, which AWS IoT names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from asyncgg.decommission.shadow_service import open_shadow_service
from asyncgg.errors import ServiceError, UsageError
from asyncgg.transport import ConnectionConfig
from tests.integration.cli.conftest import aws_environment

__all__ = ["aws_environment"]

CONNECTION = ConnectionConfig(region="eu-west-1")


async def test_the_data_endpoint_is_that_of_the_account(aws_environment: None) -> None:
    """DescribeEndpoint says it; the client is opened there."""

    async def describe_endpoint(**arguments: Any) -> dict[str, str]:
        assert arguments == {"endpointType": "iot:Data-ATS"}
        return {"endpointAddress": "abc-ats.iot.eu-west-1.amazonaws.com"}

    iot = SimpleNamespace(describe_endpoint=describe_endpoint)
    async with open_shadow_service(CONNECTION, iot) as service:
        assert service._client.meta.endpoint_url == "https://abc-ats.iot.eu-west-1.amazonaws.com"


async def test_an_unknown_data_endpoint_says_what_to_do(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denied question, or a custom endpoint for Greengrass only, names the ways out."""

    async def describe_endpoint(**_: Any) -> dict[str, str]:
        response = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "ResponseMetadata": {}}
        raise ClientError(response, "DescribeEndpoint")

    iot = SimpleNamespace(describe_endpoint=describe_endpoint)
    with pytest.raises(ServiceError, match=r"allow iot:DescribeEndpoint.*--skip-shadows"):
        async with open_shadow_service(CONNECTION, iot):
            pass
    monkeypatch.setenv("AWS_ENDPOINT_URL_GREENGRASSV2", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"AWS_ENDPOINT_URL_IOT_DATA.*--skip-shadows"):
        async with open_shadow_service(CONNECTION, iot):
            pass
