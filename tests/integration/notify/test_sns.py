"""Rule: the telling of SNS topics, against moto's server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiobotocore.session import get_session

from asyncgg.notify import Message, NotificationEvent, SnsTopic, notify
from asyncgg.transport import ConnectionConfig

MESSAGE = Message(NotificationEvent.GUARD, "stopped: ü " + "x" * 200, {"state": "aborted"}, "box")
MISSING = SnsTopic("arn:aws:sns:eu-west-1:123456789012:nobody-made-this")


async def publish_and_receive(moto_url: str, name: str) -> dict[str, Any]:
    """What a queue gets that listens to a new topic of this name, after one notification."""
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
async def test_a_topic_gets_the_object(moto_url: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Subscribers get the whole object, and a subject that SNS allows; a FIFO topic too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", moto_url)
    result = await publish_and_receive(moto_url, name)
    assert json.loads(result["Message"]) == MESSAGE.to_dict()
    assert result["Subject"] == ("stopped: ? " + "x" * 200)[:100]


async def test_a_topic_that_is_not_there(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own words come back on one line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    (error,) = await notify([MISSING], MESSAGE)
    assert error.startswith(f"topic {MISSING.arn} was not told: SNS answers NotFound")
    assert "\n" not in error


async def test_nothing_is_called_elsewhere() -> None:
    """With a custom endpoint for Greengrass only, SNS is not asked at AWS, and the line says what to set."""
    (error,) = await notify([MISSING], MESSAGE, connection=ConnectionConfig(endpoint_url="http://127.0.0.1:1"))
    assert "set AWS_ENDPOINT_URL_SNS" in error


async def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing credentials, an unknown profile, a silent endpoint: one line each, and no error."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1")
    (unreachable,) = await notify([MISSING], MESSAGE, timeout=0.5)
    assert unreachable
    (unknown,) = await notify([MISSING], MESSAGE, connection=ConnectionConfig(profile="nobody"))
    assert "no AWS profile 'nobody'" in unknown
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (missing,) = await notify([MISSING], MESSAGE)
    assert "credentials" in missing
