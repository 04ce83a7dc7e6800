"""Tests of the delivery to SNS topics, against the server of moto."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiobotocore.session import get_session

from asyncgg.notify import Message, NotificationEvent, SnsTopic, notify
from asyncgg.transport import ConnectionConfig

MESSAGE = Message(NotificationEvent.GUARD, "stopped: ü " + "x" * 200, {"state": "aborted"}, "box")
MISSING = SnsTopic("arn:aws:sns:eu-west-1:123456789012:missing")


async def publish_and_receive(moto_url: str, name: str) -> dict[str, Any]:
    """Create a topic with a subscribed queue, notify the topic and return the received message."""
    client_options: Any = {"region_name": "eu-west-1", "endpoint_url": moto_url}
    fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
    queued = {"FifoQueue": "true"} if fifo else {}
    session = get_session()
    async with (
        session.create_client("sns", **client_options) as sns,
        session.create_client("sqs", **client_options) as sqs,
    ):
        topic = (await sns.create_topic(Name=name, Attributes=fifo))["TopicArn"]
        queue = (await sqs.create_queue(QueueName=name, Attributes=queued))["QueueUrl"]
        attributes = await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        await sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])
        assert await notify([SnsTopic(topic)], MESSAGE) == []
        (received,) = (await sqs.receive_message(QueueUrl=queue))["Messages"]
        message: dict[str, Any] = json.loads(received["Body"])
        return message


@pytest.mark.parametrize("name", ["fleet", "fleet.fifo"])
async def test_notify_topic_delivers_object_and_subject(
    moto_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Subscribers of standard and FIFO topics get the whole object and a valid subject."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", moto_url)
    result = await publish_and_receive(moto_url, name)
    assert json.loads(result["Message"]) == MESSAGE.to_dict()
    assert result["Subject"] == ("stopped: ? " + "x" * 200)[:100]


async def test_notify_missing_topic_returns_service_message(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error contains the message of SNS on one line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    (error,) = await notify([MISSING], MESSAGE)
    assert error.startswith(f"Notification to topic {MISSING.arn} failed: SNS: NotFound")
    assert "\n" not in error


async def test_notify_topic_custom_greengrass_endpoint_does_not_call_aws() -> None:
    """The error names the variable to set."""
    (error,) = await notify([MISSING], MESSAGE, connection=ConnectionConfig(endpoint_url="http://127.0.0.1:1"))
    assert "set AWS_ENDPOINT_URL_SNS" in error


async def test_notify_topic_unusable_connection_returns_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing credentials, an unknown profile and an unreachable endpoint raise nothing."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1")
    (unreachable,) = await notify([MISSING], MESSAGE, timeout=0.5)
    assert unreachable
    (unknown,) = await notify([MISSING], MESSAGE, connection=ConnectionConfig(profile="missing"))
    assert "no AWS profile 'missing'" in unknown
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (missing,) = await notify([MISSING], MESSAGE)
    assert "credentials" in missing
