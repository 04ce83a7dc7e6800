"""Read the applied request quotas from AWS Service Quotas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.ratelimit import QUOTA_CODE
from asyncgg.transport import ConnectionConfig, resolve_endpoint
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import configured_endpoint
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import describe_client_error, new_session

T = TypeVar("T")

SERVICE_CODE: Final = "greengrass"
"""Service code of AWS IoT Greengrass in Service Quotas."""
IOT_SERVICE_CODE: Final = "iotcore"
"""Service code of AWS IoT Core in Service Quotas [public exports of ListServiceQuotas]."""
_IOT_RATE_NAME: Final = "{} API TPS"
"""Name of the quota of an operation of AWS IoT Core [public exports of ListServiceQuotas]."""
_TIMEOUT: Final = 10.0
_PAGE_SIZE: Final = 100  # [service model: MaxResults]
_MAX_PAGES: Final = 50


async def applied_quota(connection: ConnectionConfig, quota_code: str = "") -> tuple[float | None, str]:
    """Return the value of GetServiceQuota and "", or None and the reason. AWS errors are reasons.

    With a custom Greengrass endpoint, only a custom endpoint for Service Quotas is called.
    """
    code = quota_code or QUOTA_CODE

    async def query(client: Any) -> float:
        response = await client.get_service_quota(ServiceCode=SERVICE_CODE, QuotaCode=code)
        return float(response["Quota"]["Value"])

    return await _query(connection, f"GetServiceQuota {code}", query)


async def applied_iot_rates(connection: ConnectionConfig, apis: Collection[str]) -> tuple[dict[str, float] | None, str]:
    """Return the quotas of operations of AWS IoT Core in requests per second, as far as they are listed, and "".

    None and the reason instead if they cannot be read; endpoints as in `applied_quota`.
    """
    names = {_IOT_RATE_NAME.format(api): api for api in apis}

    async def query(client: Any) -> dict[str, float]:
        rates: dict[str, float] = {}
        page: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            response = await client.list_service_quotas(ServiceCode=IOT_SERVICE_CODE, MaxResults=_PAGE_SIZE, **page)
            for quota in response["Quotas"]:
                if quota["QuotaName"] in names and float(quota["Value"]) > 0:
                    rates[names[quota["QuotaName"]]] = float(quota["Value"])
            if not response.get("NextToken"):
                break
            page = {"NextToken": response["NextToken"]}
        return rates

    return await _query(connection, f"ListServiceQuotas {IOT_SERVICE_CODE}", query)


async def _query(
    connection: ConnectionConfig, request: str, query: Callable[[Any], Awaitable[T]]
) -> tuple[T | None, str]:
    greengrass_endpoint = resolve_endpoint(connection)
    session = new_session(connection.profile, greengrass_endpoint.region)
    quotas_endpoint_url = None
    if greengrass_endpoint.custom:
        quotas_endpoint_url = configured_endpoint(session, "service_quotas", service_specific_only=True)[1]
        if quotas_endpoint_url is None:
            return None, "not checked: custom endpoint in use"
    try:
        async with open_service_client(
            "service-quotas",
            connection,
            greengrass_endpoint.region,
            quotas_endpoint_url,
            connect_timeout=min(connection.connect_timeout, _TIMEOUT),
            read_timeout=min(connection.request_timeout, _TIMEOUT),
            http_session_cls=TracingSession,
            use_fips_endpoint=None,  # as in the AWS configuration
            use_dualstack_endpoint=None,
        ) as (client, _):
            return await query(client), ""
    except aws.ClientError as error:
        return None, describe_client_error(request, error)
    except AsyncggError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 - the value is only informative, so no failure may end the command
        unreadable = f"unreadable response ({type(error).__name__})"
        return None, sanitize(error) if isinstance(error, aws.BotoCoreError) else unreadable
