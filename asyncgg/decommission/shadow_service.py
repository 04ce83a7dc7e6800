"""The operations of AWS IoT on device shadows."""

# Fields and errors are those of the service model iot-data/2015-05-28. The three operations share a
# quota of 4,000 requests per second and account, of which they use little.

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from asyncgg.cleanup.registry_client import (
    RateLimitedOperation,
    RegistryCallError,
    RenewableCredentials,
    require_json_responses,
)
from asyncgg.errors import ServiceError
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, other_service_endpoint, resolve_endpoint
from asyncgg.transport.sdk import TracingSession

CLASSIC: Final = ""
"""The name of the shadow without a name."""
_NOT_FOUND: Final = "ResourceNotFoundException"
_PAGE_SIZE: Final = 100  # [service model: PageSize]
_RATE: Final = 100.0
_OPERATIONS: Final = ("ListNamedShadowsForThing", "GetThingShadow", "DeleteThingShadow")


class ShadowCalls(Protocol):
    """The calls that saving and deleting shadows needs. Each raises `RegistryCallError`."""

    async def list_names(self, thing: str) -> list[str]:
        """The names of the named shadows of a thing."""

    async def get(self, thing: str, name: str) -> str | None:
        """The document of a shadow, `CLASSIC` or named; None if it does not exist."""

    async def delete(self, thing: str, name: str) -> str:
        """Delete a shadow, or nothing if it does not exist; the id of the request."""


class ShadowService:
    """`ShadowCalls` through an open client. Needs a running loop."""

    def __init__(self, client: Any, *, credentials: RenewableCredentials | None = None, timeout: float = 60.0) -> None:
        self._client = client
        self.operations: Final = {
            name: RateLimitedOperation(
                name,
                _RATE,
                retry=RetryPolicy(max_attempts=8),
                credentials=credentials,
                timeout=timeout,
                denied_advice=f"allow iot:{name}, or give --skip-shadows",
            )
            for name in _OPERATIONS
        }

    async def list_names(self, thing: str) -> list[str]:
        """See `ShadowCalls.list_names`."""
        names: list[str] = []
        page: dict[str, str] = {}
        while True:
            response = await self.operations["ListNamedShadowsForThing"].call(
                lambda page=page: self._client.list_named_shadows_for_thing(  # type: ignore[misc]  # mypy infers no defaults
                    thingName=thing, pageSize=_PAGE_SIZE, **page
                )
            )
            names += response.get("results", [])
            if not response.get("nextToken"):
                return names
            page = {"nextToken": response["nextToken"]}

    async def get(self, thing: str, name: str) -> str | None:
        """See `ShadowCalls.get`."""

        async def read() -> Mapping[str, Any]:
            response = await self._client.get_thing_shadow(thingName=thing, **_named(name))
            async with response["payload"] as stream:
                return {"document": (await stream.read()).decode()}

        response = await self._unless_missing("GetThingShadow", read)
        return None if response is None else str(response["document"])

    async def delete(self, thing: str, name: str) -> str:
        """See `ShadowCalls.delete`."""
        response = await self._unless_missing(
            "DeleteThingShadow", lambda: self._client.delete_thing_shadow(thingName=thing, **_named(name))
        )
        return str((response or {}).get("ResponseMetadata", {}).get("RequestId", ""))

    async def _unless_missing(
        self, name: str, send: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> Mapping[str, Any] | None:
        try:
            return await self.operations[name].call(send)
        except RegistryCallError as error:
            if error.code == _NOT_FOUND:
                return None
            raise


def _named(name: str) -> dict[str, str]:
    return {} if name == CLASSIC else {"shadowName": name}


@asynccontextmanager
async def open_shadow_service(connection: ConnectionConfig, iot: Any) -> AsyncIterator[ShadowService]:
    """Open a client of the data endpoint of the account for the block.

    `iot`: an open client of AWS IoT, which knows that endpoint. Raises `UsageError` as
    `other_service_endpoint`, and `ServiceError` if the endpoint is not returned.
    """
    endpoint = resolve_endpoint(connection)
    url = other_service_endpoint(connection, "iot-data", ", or give --skip-shadows")
    if url is None:
        describe = RateLimitedOperation("DescribeEndpoint", 10.0, retry=RetryPolicy(max_attempts=8), credentials=None)
        try:  # the endpoint with a certificate of Amazon Trust Services [service model: EndpointType]
            response = await describe.call(lambda: iot.describe_endpoint(endpointType="iot:Data-ATS"))
        except RegistryCallError as error:
            advice = "allow iot:DescribeEndpoint, set AWS_ENDPOINT_URL_IOT_DATA, or give --skip-shadows"
            raise ServiceError(f"the endpoint of the shadows is unknown: {error}; {advice}") from None
        url = f"https://{response['endpointAddress']}"
    async with open_service_client(
        "iot-data",
        connection,
        endpoint.region,
        url,
        max_pool_connections=connection.max_connections,
        http_session_cls=TracingSession,
        parameter_validation=False,
        use_fips_endpoint=False,  # the endpoint is given
        use_dualstack_endpoint=False,
    ) as (client, credentials):
        require_json_responses(client)
        yield ShadowService(client, credentials=credentials, timeout=connection.request_timeout)
