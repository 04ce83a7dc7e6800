"""Rule: where AWS IoT is asked, and the client for it, are decided and made here; no question is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncgg.cleanup.policy.model import IotLimits
from asyncgg.cleanup.registry import IotRegistry
from asyncgg.errors import UsageError
from asyncgg.transport.config import ConnectionConfig, configured_endpoint, resolve_endpoint
from asyncgg.transport.credentials import CredentialSource
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import client_config, new_session

__all__ = ["iot_endpoint", "open_registry"]

_SERVICE = "iot"


def iot_endpoint(connection: ConnectionConfig, limits: IotLimits) -> str | None:
    """The endpoint of AWS IoT, None for AWS's own; nothing is sent.

    In this order: the policy's `iot.endpoint-url`, AWS_ENDPOINT_URL_IOT or the profile's section for `iot`; and, unless
    `--endpoint-url` was given for Greengrass, AWS_ENDPOINT_URL or the profile's `endpoint_url`.

    Raises:
        UsageError: as `resolve`; or Greengrass has an endpoint of its own and AWS IoT has none, so that its questions
            would go to AWS.
    """
    greengrass = resolve_endpoint(connection)
    session = new_session(connection.profile, greengrass.region)
    iot_url = limits.endpoint_url or configured_endpoint(session, _SERVICE, service_specific_only=True)[1]
    if iot_url is not None or not greengrass.custom:
        return iot_url
    shared_url = None if connection.endpoint_url else configured_endpoint(session, _SERVICE)[1]
    if shared_url is None:
        raise UsageError(
            "the policy asks AWS IoT, and a custom endpoint is set for Greengrass only: set AWS_ENDPOINT_URL_IOT or the"
            " policy's iot.endpoint-url as well; with a custom endpoint nothing is called elsewhere"
        )
    return shared_url


@asynccontextmanager
async def open_registry(connection: ConnectionConfig, limits: IotLimits) -> AsyncIterator[IotRegistry]:
    """The registry for as long as the block runs; its credentials are got first, nothing is asked.

    Raises:
        UsageError: as `iot_endpoint`.
        CredentialsError: there are no credentials.
    """
    endpoint = iot_endpoint(connection, limits)
    region = resolve_endpoint(connection).region
    credentials = CredentialSource(connection.profile, region)
    await credentials.open()
    session = new_session(connection.profile, region)
    session.register_component("credential_provider", credentials)
    config = client_config(
        connect_timeout=connection.connect_timeout,
        read_timeout=connection.request_timeout,
        max_pool_connections=limits.concurrency,
        http_session_cls=TracingSession,
        use_fips_endpoint=connection.use_fips,
        use_dualstack_endpoint=connection.use_dualstack,
        parameter_validation=False,  # names were checked where they entered
    )
    async with session.create_client(_SERVICE, region_name=region, endpoint_url=endpoint, config=config) as client:
        yield IotRegistry(client, limits, credentials=credentials, timeout=connection.request_timeout)
