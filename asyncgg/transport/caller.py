"""Rule: the question "who am I" lives here: one GetCallerIdentity, asked only because the caller wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError, CredentialsError, ServiceError
from asyncgg.transport.connection import Connection, configured_endpoint, resolve
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.failure import one_line
from asyncgg.transport.http import WatchedSession
from asyncgg.transport.session import client_config, new_session

__all__ = ["Identity", "identity"]

_ATTEMPTS: Final = 3

_TIMEOUT: Final = 20.0
"""Most seconds for the answer; the caller's own limits hold when they are shorter."""


_SPEAKING: Final = (aws.BotoCoreError, SourceUnreachableError)
"""Errors whose own words say what happened."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose credentials these are."""

    account: str
    arn: str
    endpoint: str
    """The STS endpoint that said so."""


async def identity(connection: Connection) -> Identity:
    """The account and the principal of the credentials, from STS.

    With a custom Greengrass endpoint STS is asked at AWS_ENDPOINT_URL_STS (or the profile's) where that is set, else at
    the custom endpoint itself, and nowhere else.

    Raises:
        UsageError: as `resolve`.
        CredentialsError: there are no credentials, or they are not accepted.
        ServiceError: STS could not be reached or gave no readable answer.
    """
    target = resolve(connection)
    source = CredentialSource(connection.profile, target.region)
    await source.open()
    session = new_session(connection.profile, target.region)
    endpoint = None
    if target.custom:
        endpoint = configured_endpoint(session, "sts", own_only=True)[1] or target.endpoint_url
    session.register_component("credential_provider", source)
    config = client_config(
        attempts=_ATTEMPTS,
        connect_timeout=connection.connect_timeout,
        read_timeout=min(connection.request_timeout, _TIMEOUT),
        http_session_cls=WatchedSession,
        use_fips_endpoint=connection.use_fips,
        use_dualstack_endpoint=connection.use_dualstack,
    )
    try:
        async with session.create_client(
            "sts", region_name=target.region, endpoint_url=endpoint, config=config
        ) as client:
            asked = str(client.meta.endpoint_url)
            answer = await client.get_caller_identity()
    except aws.ClientError as error:
        raise _refusal(error) from None
    except AsyncggError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore's parsers raise anything at an answer that is not STS's
        reason = one_line(error) if isinstance(error, _SPEAKING) else f"unreadable answer ({type(error).__name__})"
        where = f" at {endpoint}" if endpoint else ""
        raise ServiceError(f"STS{where} did not tell whose credentials these are: {reason}") from None
    account, arn = answer.get("Account"), answer.get("Arn")
    if not account or not arn:
        raise ServiceError(f"STS at {asked} gave an answer without account and ARN")
    return Identity(account, arn, asked)


def _refusal(error: aws.ClientError) -> CredentialsError | ServiceError:
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    words = one_line(f"STS answered {said.get('Code', '?')}: {said.get('Message', '')}")
    if status in {400, 401, 403}:
        return CredentialsError(
            f"the AWS credentials are not accepted: {words}; renew them, or choose another --profile"
        )
    return ServiceError(f"whose credentials these are is unknown: {words}")
