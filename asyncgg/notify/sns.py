"""Publishes a notification to an SNS topic in the Region of the topic."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.notify.message import Message
from asyncgg.notify.targets import SnsTopic
from asyncgg.notify.webhook import DeliveryError
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, configured_endpoint, resolve_endpoint
from asyncgg.transport.credentials import SourceUnreachableError
from asyncgg.transport.session import new_session

_ATTEMPTS: Final = 4
_ATTEMPT_SECONDS: Final = 10.0
_MAX_SUBJECT_LENGTH: Final = 100
"""Maximum length of a subject, which must be one line of ASCII [SNS API reference, Publish]."""


async def publish_to_sns(target: SnsTopic, message: Message, connection: ConnectionConfig) -> None:
    """Publish `message` with the credentials of `connection`'s profile. Raises `DeliveryError`."""
    try:
        endpoint = _endpoint_url(connection)
        body = message.to_json()
        subject = " ".join(message.text.encode("ascii", "replace").decode().split())[:_MAX_SUBJECT_LENGTH]
        request = {"TopicArn": target.arn, "Message": body, "Subject": subject}
        if target.arn.endswith(".fifo"):
            digest = hashlib.sha256(body.encode()).hexdigest()
            request |= {"MessageGroupId": "asyncgg", "MessageDeduplicationId": digest}
        async with open_service_client(
            "sns", connection, target.region, endpoint, attempts=_ATTEMPTS, read_timeout=_ATTEMPT_SECONDS
        ) as (client, _):
            await client.publish(**request)
    except aws.ClientError as error:
        details = error.response.get("Error", {})
        raise DeliveryError(sanitize(f"SNS: {details.get('Code', '?')}: {details.get('Message', '')}")) from None
    except (aws.BotoCoreError, SourceUnreachableError, AsyncggError) as error:
        raise DeliveryError(sanitize(error)) from None


def _endpoint_url(connection: ConnectionConfig) -> str | None:
    """Get the URL of SNS; None means the endpoint of AWS. Raises `DeliveryError`."""
    session = new_session(connection.profile)
    sns_url = configured_endpoint(session, "sns", service_specific_only=True)[1]
    if sns_url is not None:
        return sns_url
    if connection.endpoint_url is None:
        global_url = configured_endpoint(session, "sns")[1]
        if global_url is not None:
            return global_url
    # Only `custom` is used, but an endpoint cannot be resolved without a Region.
    if resolve_endpoint(replace(connection, region=connection.region or "us-east-1")).custom:
        raise DeliveryError(
            "SNS is not called at AWS, because Greengrass has a custom endpoint; set AWS_ENDPOINT_URL_SNS"
        )
    return None
