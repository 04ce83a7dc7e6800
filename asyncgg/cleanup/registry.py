"""The AWS IoT registry: endpoint, client, lookups and the checks of their responses."""

# This module loads aiobotocore: import it only where lookups are made. Sizes and fields are those
# of the service model iot/2015-05-28. Responses decide what is removed, so each must be complete,
# about the requested subject, and from AWS IoT: a proxy's 404 does not mean a missing thing.

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from asyncgg.aws_calls.client import RateLimitedClient, open_json_client
from asyncgg.aws_calls.operation import AwsCallError, RenewableCredentials
from asyncgg.cleanup.policy.model import IotLimits
from asyncgg.cleanup.rules.base import Api, QueryFailed, ThingDescription
from asyncgg.formatting import sanitize
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.config import ConnectionConfig, other_service_endpoint

_SERVICE: Final = "iot"

_GROUP_PAGE_SIZE: Final = 250  # [RegistryMaxResults: 1 to 250]
_SEARCH_PAGE_SIZE: Final = 100  # [SearchIndex: maxResults, at most 100]


class IotRegistry:
    """Lookups through an open aiobotocore client of the service `iot`. Needs a running loop."""

    def __init__(
        self,
        client: Any,
        limits: IotLimits,
        *,
        credentials: RenewableCredentials | None = None,
        retry: RetryPolicy | None = None,
        timeout: float = 60.0,
    ) -> None:
        rates: dict[str, float] = {api: limits.rate(api) for api in Api}
        advice = "allow iot:{} or remove the rule"
        retry = retry or RetryPolicy(max_attempts=8)
        self._client = client
        self._iot = RateLimitedClient(
            client, rates, denied_advice=advice, credentials=credentials, timeout=timeout, retry=retry
        )
        self.operations: Final = self._iot.operations

    async def describe_thing(self, thing: str) -> ThingDescription | QueryFailed:
        """Look up one thing; only ResourceNotFoundException means that the thing does not exist."""
        try:
            response = await self._iot.find(Api.DESCRIBE_THING, thingName=thing)
        except AwsCallError as error:
            return QueryFailed(str(error))
        if response is None:
            return ThingDescription(exists=False)
        thing_type, attributes = response.get("thingTypeName") or "", response.get("attributes") or {}
        if response.get("thingName") != thing or not isinstance(thing_type, str) or not _is_string_map(attributes):
            return QueryFailed(f"DescribeThing: the response does not describe {thing}")
        return ThingDescription(True, thing_type, attributes)

    async def list_group(self, group: str, recursive: bool) -> frozenset[str] | QueryFailed:
        """List the things of a thing group, with those of nested groups if `recursive`.

        A dynamic group that is being built has only a part of its things, so the lookup fails
        [DescribeThingGroup: status ACTIVE, BUILDING or REBUILDING; absent for static groups].
        """
        listing = Api.LIST_THINGS_IN_THING_GROUP
        failure = f"cannot list thing group {group}"
        try:  # within the quota of the listing, which follows
            response = await self.operations[listing].call(
                lambda: self._client.describe_thing_group(thingGroupName=group)
            )
        except AwsCallError as error:
            return QueryFailed(f"{failure}: {error}")
        if response.get("thingGroupName") != group:
            return QueryFailed(f"{failure}: the response describes another group")
        if response.get("status", "ACTIVE") != "ACTIVE":
            return QueryFailed(f"{failure}: the group is being built ({sanitize(response['status'])})")
        things = self._iot.items(
            listing, "things", thingGroupName=group, recursive=recursive, maxResults=_GROUP_PAGE_SIZE
        )
        return await _names(things, lambda thing: thing, failure)

    async def search_index(self, query: str) -> frozenset[str] | QueryFailed:
        """List the things that a fleet indexing query finds."""
        things = self._iot.items(Api.SEARCH_INDEX, "things", queryString=query, maxResults=_SEARCH_PAGE_SIZE)
        failure = f"cannot search the index for {sanitize(query)!r}"
        return await _names(things, lambda document: document["thingName"], failure)


async def _names(
    things: Awaitable[list[Any]], name_of: Callable[[Any], object], failure: str
) -> frozenset[str] | QueryFailed:
    """The names of the listed things; fails if the list fails, or any name."""
    try:
        names = [name_of(thing) for thing in await things]
    except AwsCallError as error:
        return QueryFailed(f"{failure}: {error}")
    except (KeyError, TypeError):
        names = [None]
    valid = [name for name in names if isinstance(name, str)]
    if len(valid) < len(names):
        return QueryFailed(f"{failure}: the response contains an invalid name")
    return frozenset(valid)


def _is_string_map(attributes: object) -> bool:
    return isinstance(attributes, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in attributes.items()
    )


# --- opening ---


def iot_endpoint(connection: ConnectionConfig, limits: IotLimits) -> str | None:
    """The endpoint of AWS IoT: the policy's `iot.endpoint-url`, else as `other_service_endpoint`."""
    return limits.endpoint_url or other_service_endpoint(connection, _SERVICE, " or the policy's iot.endpoint-url")


@asynccontextmanager
async def open_registry(connection: ConnectionConfig, limits: IotLimits) -> AsyncIterator[IotRegistry]:
    """Open the registry for the block.

    Raises `UsageError` as `iot_endpoint`, and `CredentialsError` if no credentials were found.
    """
    endpoint = iot_endpoint(connection, limits)
    async with open_json_client(_SERVICE, connection, endpoint, max_pool_connections=limits.concurrency) as opened:
        client, credentials = opened
        yield IotRegistry(client, limits, credentials=credentials, timeout=connection.request_timeout)
