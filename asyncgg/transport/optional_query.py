"""Asks an AWS service for information that a command can do without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, configured_endpoint, resolve_endpoint
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import describe_client_error, new_session

T = TypeVar("T")
_TIMEOUT: Final = 10.0


async def query_optional_service(
    connection: ConnectionConfig, service: str, request: str, query: Callable[[Any], Awaitable[T]]
) -> tuple[T | None, str]:
    """Return the result of `query(client)` and "", or None and the reason; `request` names it in a reason.

    Every error of `query` is a reason. With a custom Greengrass endpoint, only a custom endpoint of this
    service is called. Raises `UsageError` as `resolve_endpoint`.
    """
    endpoint = resolve_endpoint(connection)
    session = new_session(connection.profile, endpoint.region)
    url = configured_endpoint(session, service.replace("-", "_"), service_specific_only=True)[1]
    if endpoint.custom and url is None:
        return None, "custom endpoint in use"
    try:
        async with open_service_client(
            service,
            connection,
            endpoint.region,
            url,
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
    except Exception as error:  # noqa: BLE001 - the answer is only informative, so no failure may end the command
        readable = isinstance(error, aws.BotoCoreError)
        return None, sanitize(error) if readable else f"unreadable response ({type(error).__name__})"
