"""The operations of AWS IoT on device shadows."""

# Fields and errors are those of the service model iot-data/2015-05-28. The three operations share a
# quota of 4,000 requests per second and account, of which they use little.

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from asyncgg.aws_calls.client import RateLimitedClient, open_json_client
from asyncgg.aws_calls.operation import AwsCallError, RenewableCredentials, request_id
from asyncgg.errors import ServiceError
from asyncgg.transport.config import ConnectionConfig, other_service_endpoint

CLASSIC: Final = ""
"""The name of the shadow without a name."""
_PAGE_SIZE: Final = 100  # [service model: PageSize]
_RATE: Final = 100.0
_OPERATIONS: Final = ("ListNamedShadowsForThing", "GetThingShadow", "DeleteThingShadow")


class ShadowService:
    """Calls through an open client. Needs a running loop. Every method raises `AwsCallError`."""

    def __init__(self, client: Any, *, credentials: RenewableCredentials | None = None, timeout: float = 60.0) -> None:
        self._client = client
        self._calls = RateLimitedClient(
            client,
            dict.fromkeys(_OPERATIONS, _RATE),
            denied_advice="allow iot:{}, or give --skip-shadows",
            credentials=credentials,
            timeout=timeout,
        )

    async def list_names(self, thing: str) -> list[str]:
        """The names of the named shadows of a thing."""
        return await self._calls.items("ListNamedShadowsForThing", "results", thingName=thing, pageSize=_PAGE_SIZE)

    async def get(self, thing: str, name: str) -> str | None:
        """The document of a shadow, `CLASSIC` or named; None if it does not exist."""

        async def read() -> Mapping[str, Any]:
            response = await self._client.get_thing_shadow(thingName=thing, **_named(name))
            async with response["payload"] as stream:
                return {"document": (await stream.read()).decode()}

        response = await self._calls.operations["GetThingShadow"].find(read)
        return None if response is None else str(response["document"])

    async def delete(self, thing: str, name: str) -> str:
        """Delete a shadow, if it exists; the id of the request."""
        return request_id(await self._calls.find("DeleteThingShadow", thingName=thing, **_named(name)))


def _named(name: str) -> dict[str, str]:
    return {} if name == CLASSIC else {"shadowName": name}


@asynccontextmanager
async def open_shadow_service(connection: ConnectionConfig, iot: Any) -> AsyncIterator[ShadowService]:
    """Open a client of the data endpoint of the account for the block.

    `iot`: an open client of AWS IoT, which knows that endpoint. Raises `UsageError` as
    `other_service_endpoint`, and `ServiceError` if the endpoint is not returned.
    """
    url = other_service_endpoint(connection, "iot-data", ", or give --skip-shadows")
    if url is None:
        calls = RateLimitedClient(iot, {"DescribeEndpoint": 10.0}, denied_advice="allow iot:{}")
        try:  # the endpoint with a certificate of Amazon Trust Services [service model: EndpointType]
            response = await calls.call("DescribeEndpoint", endpointType="iot:Data-ATS")
        except AwsCallError as error:
            advice = "allow iot:DescribeEndpoint, set AWS_ENDPOINT_URL_IOT_DATA, or give --skip-shadows"
            raise ServiceError(f"the endpoint of the shadows is unknown: {error}; {advice}") from None
        url = f"https://{response['endpointAddress']}"
    is_given = {"use_fips_endpoint": False, "use_dualstack_endpoint": False}
    async with open_json_client("iot-data", connection, url, **is_given) as (client, credentials):
        yield ShadowService(client, credentials=credentials, timeout=connection.request_timeout)
