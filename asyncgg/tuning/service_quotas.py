"""Read the applied request quotas from AWS Service Quotas."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from asyncgg.ratelimit import QUOTA_CODE
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.optional_query import query_optional_service

SERVICE_CODE: Final = "greengrass"
"""Service code of AWS IoT Greengrass in Service Quotas."""
IOT_SERVICE_CODE: Final = "iotcore"
"""Service code of AWS IoT Core in Service Quotas [public exports of ListServiceQuotas]."""
_IOT_RATE_NAME: Final = "{} API TPS"
"""Name of the quota of an operation of AWS IoT Core [public exports of ListServiceQuotas]."""
_SERVICE: Final = "service-quotas"
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

    return await query_optional_service(connection, _SERVICE, f"GetServiceQuota {code}", query)


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

    return await query_optional_service(connection, _SERVICE, f"ListServiceQuotas {IOT_SERVICE_CODE}", query)
