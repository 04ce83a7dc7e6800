"""Rule: the telling of an SNS topic lives here: one Publish through the aiobotocore client, in the topic's own Region.

With a custom endpoint for Greengrass nothing is called elsewhere, unless SNS has an endpoint of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError
from asyncgg.notify.message import Message
from asyncgg.notify.targets import Topic
from asyncgg.notify.webhook import NotToldError
from asyncgg.transport.connection import Connection, configured_endpoint, resolve
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.failure import one_line
from asyncgg.transport.session import client_config, new_session

__all__ = ["tell_topic"]

_ATTEMPTS: Final = 4
_ATTEMPT_SECONDS: Final = 10.0
_SUBJECT: Final = 100
"""Most characters of a subject; ASCII, one line [SNS API reference, Publish]."""


async def tell_topic(target: Topic, message: Message, connection: Connection) -> None:
    """Publish `message` with the credentials of `connection`'s profile. Raises `NotToldError`."""
    try:
        await _publish(target, message, connection)
    except aws.ClientError as error:
        said = error.response.get("Error", {})
        raise NotToldError(one_line(f"SNS answers {said.get('Code', '?')}: {said.get('Message', '')}")) from None
    except (aws.BotoCoreError, SourceUnreachableError, AsyncggError) as error:
        raise NotToldError(one_line(error)) from None


async def _publish(target: Topic, message: Message, connection: Connection) -> None:
    endpoint = _endpoint(connection)
    source = CredentialSource(connection.profile, target.region)
    await source.open()
    session = new_session(connection.profile, target.region)
    session.register_component("credential_provider", source)
    config = client_config(
        attempts=_ATTEMPTS,
        connect_timeout=connection.connect_timeout,
        read_timeout=_ATTEMPT_SECONDS,
        use_fips_endpoint=connection.use_fips,
        use_dualstack_endpoint=connection.use_dualstack,
    )
    body = message.body()
    subject = " ".join(message.text.encode("ascii", "replace").decode().split())[:_SUBJECT]
    request = {"TopicArn": target.arn, "Message": body, "Subject": subject}
    if target.arn.endswith(".fifo"):
        digest = hashlib.sha256(body.encode()).hexdigest()
        request |= {"MessageGroupId": "asyncgg", "MessageDeduplicationId": digest}
    async with session.create_client("sns", region_name=target.region, endpoint_url=endpoint, config=config) as client:
        await client.publish(**request)


def _endpoint(connection: Connection) -> str | None:
    """Where SNS is asked, None for AWS's own."""
    session = new_session(connection.profile)
    own = configured_endpoint(session, "sns", own_only=True)[1]
    if own is not None:
        return own
    if connection.endpoint_url is None:
        for_all = configured_endpoint(session, "sns")[1]
        if for_all is not None:
            return for_all
    # The Region is of no matter here, but without one nothing can be resolved.
    if resolve(replace(connection, region=connection.region or "us-east-1")).custom:
        raise NotToldError(
            "a custom endpoint is set for Greengrass and none for SNS, and nothing is called elsewhere then;"
            " set AWS_ENDPOINT_URL_SNS"
        )
    return None
