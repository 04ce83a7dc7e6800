"""Rule: the question "who am I" lives here: one GetCallerIdentity, asked only because the caller wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError, CredentialsError, ServiceError
from asyncgg.transport.config import ConnectionConfig, configured_endpoint, resolve_endpoint
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.failures import sanitize
from asyncgg.transport.http import TracingSession
from asyncgg.transport.session import client_config, new_session

__all__ = ["CallerIdentity", "get_caller_identity"]

_ATTEMPTS: Final = 3

_TIMEOUT: Final = 20.0
"""Most seconds for the answer; the caller's own limits hold when they are shorter."""


_DESCRIPTIVE_ERRORS: Final = (aws.BotoCoreError, SourceUnreachableError)
"""Errors whose own words say what happened."""


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """Whose credentials these are."""

    account: str
    arn: str
    endpoint: str
    """The STS endpoint that said so."""


async def get_caller_identity(connection: ConnectionConfig) -> CallerIdentity:
    """The account and the principal of the credentials, from STS.

    With a custom Greengrass endpoint STS is asked at AWS_ENDPOINT_URL_STS (or the profile's) where that is set, else at
    the custom endpoint itself, and nowhere else.

    Raises:
        UsageError: as `resolve`.
        CredentialsError: there are no credentials, or they are not accepted.
        ServiceError: STS could not be reached or gave no readable answer.
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
    except Exception as error:  # noqa: BLE001 - botocore's parsers raise anything at an answer that is not STS's
        reason = (
            sanitize(error) if isinstance(error, _DESCRIPTIVE_ERRORS) else f"unreadable answer ({type(error).__name__})"
        )
        location = f" at {custom_url}" if custom_url else ""
        raise ServiceError(f"STS{location} did not tell whose credentials these are: {reason}") from None
    account, arn = response.get("Account"), response.get("Arn")
    if not account or not arn:
        raise ServiceError(f"STS at {sts_url} gave an answer without account and ARN")
    return CallerIdentity(account, arn, sts_url)


def _translate_error(error: aws.ClientError) -> CredentialsError | ServiceError:
    details = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = sanitize(f"STS answered {details.get('Code', '?')}: {details.get('Message', '')}")
    if status in {400, 401, 403}:
        return CredentialsError(
            f"the AWS credentials are not accepted: {reason}; renew them, or choose another --profile"
        )
    return ServiceError(f"whose credentials these are is unknown: {reason}")
