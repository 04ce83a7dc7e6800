"""Publishes a notification to an SNS topic in the Region of the topic."""

from __future__ import annotations

import hashlib
from typing import Final

from botocore import exceptions as aws

from asyncgg.errors import AsyncggError
from asyncgg.formatting import sanitize
from asyncgg.notify.message import Message
from asyncgg.notify.targets import SnsTopic
from asyncgg.notify.webhook import DeliveryError
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, other_service_endpoint
from asyncgg.transport.credentials import SourceUnreachableError
from asyncgg.transport.session import describe_client_error

_ATTEMPTS: Final = 4
_ATTEMPT_SECONDS: Final = 10.0
_MAX_SUBJECT_LENGTH: Final = 100
"""Maximum length of a subject, which must be one line of ASCII [SNS API reference, Publish]."""


async def publish_to_sns(target: SnsTopic, message: Message, connection: ConnectionConfig) -> None:
    """Publish `message` with the credentials of `connection`'s profile. Raises `DeliveryError`."""
    try:
        endpoint = other_service_endpoint(connection, "sns")
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
        raise DeliveryError(describe_client_error("SNS", error)) from None
    except (aws.BotoCoreError, SourceUnreachableError, AsyncggError) as error:
        raise DeliveryError(sanitize(error)) from None
