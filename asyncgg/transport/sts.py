"""Looks up the account and principal of the credentials with STS GetCallerIdentity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError, CredentialsError, ServiceError
from asyncgg.formatting import sanitize
from asyncgg.transport.config import ConnectionConfig, configured_endpoint, resolve_endpoint
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import client_config, new_session

__all__ = ["CallerIdentity", "get_caller_identity"]

_ATTEMPTS: Final = 3

_TIMEOUT: Final = 20.0
"""Maximum request timeout, seconds."""


_DESCRIPTIVE_ERRORS: Final = (aws.BotoCoreError, SourceUnreachableError)
"""Exceptions with a message for users."""


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The owner of the credentials."""

    account: str
    arn: str
    endpoint: str
    """The STS endpoint that answered."""


async def get_caller_identity(connection: ConnectionConfig) -> CallerIdentity:
    """Get the account and the principal of the credentials from STS.

    With a custom Greengrass endpoint the request goes to the STS endpoint of AWS_ENDPOINT_URL_STS
    or of the profile, or else to the custom endpoint.

    Raises:
        UsageError: see `resolve_endpoint`.
        CredentialsError: there are no credentials, or STS rejected them.
        ServiceError: STS is unreachable or its response is unreadable.
    """
    endpoint = resolve_endpoint(connection)
    source = CredentialSource(connection.profile, endpoint.region)
    await source.open()
    session = new_session(connection.profile, endpoint.region)
    custom_url = None
    if endpoint.custom:
        custom_url = configured_endpoint(session, "sts", service_specific_only=True)[1] or endpoint.url
    session.register_component("credential_provider", source)
    config = client_config(
        attempts=_ATTEMPTS,
        connect_timeout=connection.connect_timeout,
        read_timeout=min(connection.request_timeout, _TIMEOUT),
        http_session_cls=TracingSession,
        use_fips_endpoint=connection.use_fips,
        use_dualstack_endpoint=connection.use_dualstack,
    )
    try:
        async with session.create_client(
            "sts", region_name=endpoint.region, endpoint_url=custom_url, config=config
        ) as client:
            sts_url = str(client.meta.endpoint_url)
            response = await client.get_caller_identity()
    except aws.ClientError as error:
        raise _translate_error(error) from None
    except AsyncggError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore's parsers can raise anything
        readable = isinstance(error, _DESCRIPTIVE_ERRORS)
        reason = sanitize(error) if readable else f"unreadable response ({type(error).__name__})"
        location = f" at {custom_url}" if custom_url else ""
        raise ServiceError(f"STS GetCallerIdentity{location} failed: {reason}") from None
    account, arn = response.get("Account"), response.get("Arn")
    if not account or not arn:
        raise ServiceError(f"the response of STS at {sts_url} has no account or no ARN")
    return CallerIdentity(account, arn, sts_url)


def _translate_error(error: aws.ClientError) -> CredentialsError | ServiceError:
    details = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = sanitize(f"STS: {details.get('Code', '?')}: {details.get('Message', '')}")
    if status in {400, 401, 403}:
        return CredentialsError(f"AWS rejected the credentials: {reason}; renew them, or choose another --profile")
    return ServiceError(f"cannot look up the AWS account: {reason}")
