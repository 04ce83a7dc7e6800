"""Looks up the account and principal of the credentials with STS GetCallerIdentity."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError, CredentialsError, ServiceError
from asyncgg.formatting import sanitize
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, configured_endpoint, resolve_endpoint
from asyncgg.transport.responses import HttpResponse, describe_response, names_error_type
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import describe_client_error, new_session

_ATTEMPTS: Final = 3
_TIMEOUT: Final = 20.0
"""Maximum request timeout, seconds."""
_SINGLE_ATTEMPT_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The owner of the credentials."""

    account: str
    arn: str
    endpoint: str
    """The STS endpoint that answered."""
    answered_at: float | None = None
    """Time of the answer by the clock of the service, in seconds since 1970; None if it gave none."""


async def get_caller_identity(connection: ConnectionConfig, *, single_attempt: bool = False) -> CallerIdentity:
    """Get the account and the principal of the credentials from STS.

    `single_attempt`: an answer is not necessary. STS is asked once, with a short timeout, and every
    error in its answer is a `ServiceError`.

    With a custom Greengrass endpoint the request goes to the STS endpoint of AWS_ENDPOINT_URL_STS
    or of the profile, or else to the custom endpoint.

    Raises:
        UsageError: see `resolve_endpoint`.
        CredentialsError: there are no credentials, or STS rejected them.
        ServiceError: STS is unreachable or its response is unreadable.
    """
    endpoint = resolve_endpoint(connection)
    timeout = _SINGLE_ATTEMPT_TIMEOUT if single_attempt else _TIMEOUT
    custom_url = None
    if endpoint.custom:
        session = new_session(connection.profile, endpoint.region)
        custom_url = configured_endpoint(session, "sts", service_specific_only=True)[1] or endpoint.url
    try:
        async with open_service_client(
            "sts",
            connection,
            endpoint.region,
            custom_url,
            attempts=1 if single_attempt else _ATTEMPTS,
            connect_timeout=min(connection.connect_timeout, timeout),
            read_timeout=min(connection.request_timeout, timeout),
            http_session_cls=TracingSession,
        ) as (client, _):
            sts_url = str(client.meta.endpoint_url)
            # A connection can send without end, which no limit of a single read stops.
            async with asyncio.timeout(timeout * (1 if single_attempt else _ATTEMPTS) + connection.connect_timeout):
                response = await client.get_caller_identity()
    except aws.ClientError as error:
        raise _translate_error(error, rejection=not single_attempt) from None
    except AsyncggError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore's parsers can raise anything
        readable = isinstance(error, aws.BotoCoreError)
        reason = sanitize(error) if readable else f"unreadable response ({type(error).__name__})"
        reason = "no complete answer in time" if isinstance(error, TimeoutError) else reason
        location = f" at {custom_url}" if custom_url else ""
        raise ServiceError(f"STS GetCallerIdentity{location} failed: {reason}") from None
    account, arn = response.get("Account"), response.get("Arn")
    if not account or not arn:
        raise ServiceError(f"the response of STS at {sts_url} has no account or no ARN")
    return CallerIdentity(account, arn, sts_url, _service_time(response["ResponseMetadata"].get("HTTPHeaders", {})))


def _service_time(headers: Mapping[str, str]) -> float | None:
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return None


def _translate_error(error: aws.ClientError, *, rejection: bool) -> CredentialsError | ServiceError:
    """Convert an answer of STS; `rejection`: it can mean that the credentials are rejected."""
    metadata = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    if not names_error_type(error.response.get("Error", {}).get("Code", ""), status):
        answer = describe_response(HttpResponse(status, metadata.get("HTTPHeaders", {}), b""))
        return ServiceError(f"cannot look up the AWS account: {answer}, not from STS; check proxy and endpoint")
    reason = describe_client_error("STS", error)
    if rejection and status in {400, 401, 403} and error.response.get("Error", {}).get("Code") != "AccessDenied":
        return CredentialsError(f"AWS rejected the credentials: {reason}; renew them, or choose another --profile")
    return ServiceError(f"cannot look up the AWS account: {reason}")
