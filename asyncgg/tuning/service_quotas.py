"""Read the applied request quota from AWS Service Quotas."""

from __future__ import annotations

from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.ratelimit import QUOTA_CODE
from asyncgg.transport import ConnectionConfig, resolve_endpoint
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import configured_endpoint
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import describe_client_error, new_session

SERVICE_CODE: Final = "greengrass"
"""Service code of AWS IoT Greengrass in Service Quotas."""
_TIMEOUT: Final = 10.0


async def applied_quota(connection: ConnectionConfig, quota_code: str = "") -> tuple[float | None, str]:
    """Return the value of GetServiceQuota and "", or None and the reason. AWS errors are reasons.

    With a custom Greengrass endpoint, only a custom endpoint for Service Quotas is called.
    """
    greengrass_endpoint = resolve_endpoint(connection)
    session = new_session(connection.profile, greengrass_endpoint.region)
    quotas_endpoint_url = None
    if greengrass_endpoint.custom:
        quotas_endpoint_url = configured_endpoint(session, "service_quotas", service_specific_only=True)[1]
        if quotas_endpoint_url is None:
            return None, "not checked: custom endpoint in use"
    code = quota_code or QUOTA_CODE
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
            response = await client.get_service_quota(ServiceCode=SERVICE_CODE, QuotaCode=code)
        return float(response["Quota"]["Value"]), ""
    except aws.ClientError as error:
        return None, describe_client_error(f"GetServiceQuota {code}", error)
    except AsyncggError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 - the value is only informative, so no failure may end the command
        unreadable = f"unreadable response ({type(error).__name__})"
        return None, sanitize(error) if isinstance(error, aws.BotoCoreError) else unreadable
