"""Tests of redirects that clients of AWS services receive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.exceptions import HTTPClientError

from asyncgg.transport import ConnectionConfig
from asyncgg.transport.client import open_service_client
from tests.support.scripted_server import ScriptedServer, respond

CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "s3": lambda client: client.get_object(Bucket="bucket", Key="key"),
    "sns": lambda client: client.publish(TopicArn="arn:aws:sns:eu-west-1:123456789012:t", Message="x"),
}


@pytest.mark.parametrize("service", CALLS)
async def test_client_does_not_follow_a_redirect(service: str, keys: None, server: ScriptedServer) -> None:
    """The other host would get the session token."""
    server.set_script(respond(307, headers={"Location": f"{server.url}/elsewhere"}))
    async with open_service_client(service, ConnectionConfig(), "eu-west-1", server.url) as (client, _):
        with pytest.raises(HTTPClientError, match="HTTP 307"):
            await CALLS[service](client)
    assert "/elsewhere" not in {request.path for request in server.requests}
