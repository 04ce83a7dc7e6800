"""The AWS IoT registry: endpoint, client, lookups and the checks of their responses."""

# This module loads aiobotocore: import it only where lookups are made. Sizes and fields are those
# of the service model iot/2015-05-28. Responses decide what is removed, so each must be complete,
# about the requested subject, and from AWS IoT: a proxy's 404 does not mean a missing thing.

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from asyncgg.cleanup.policy.model import IotLimits
from asyncgg.cleanup.registry_client import (
    RateLimitedOperation,
    RegistryCallError,
    RenewableCredentials,
    require_json_responses,
)
from asyncgg.cleanup.rules.base import Api, QueryFailed, ThingDescription
from asyncgg.formatting import sanitize
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, other_service_endpoint, resolve_endpoint
from asyncgg.transport.sdk import TracingSession

_SERVICE: Final = "iot"

_GROUP_PAGE_SIZE: Final = 250  # [RegistryMaxResults: 1 to 250]
_SEARCH_PAGE_SIZE: Final = 100  # [SearchIndex: maxResults, at most 100]
_NOT_FOUND_CODE: Final = "ResourceNotFoundException"


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
        retry = retry or RetryPolicy(max_attempts=8)
        self._client = client
        self.operations: Final = {
            api: RateLimitedOperation(api, limits.rate(api), retry=retry, credentials=credentials, timeout=timeout)
            for api in Api
        }
        """The counters of each operation."""

    async def describe_thing(self, thing: str) -> ThingDescription | QueryFailed:
        """Look up one thing; only ResourceNotFoundException means that the thing does not exist."""
        try:
            response = await self.operations[Api.DESCRIBE_THING].call(
                lambda: self._client.describe_thing(thingName=thing)
            )
        except RegistryCallError as error:
            return ThingDescription(exists=False) if error.code == _NOT_FOUND_CODE else QueryFailed(str(error))
        thing_type, attributes = response.get("thingTypeName") or "", response.get("attributes") or {}
        if response.get("thingName") != thing or not isinstance(thing_type, str) or not _is_string_map(attributes):
            return QueryFailed(f"DescribeThing: the response does not describe {thing}")
        return ThingDescription(True, thing_type, attributes)

    async def list_group(self, group: str, recursive: bool) -> frozenset[str] | QueryFailed:
        """List the things of a thing group, with those of nested groups if `recursive`.

        A dynamic group that is being built has only a part of its things, so the lookup fails
        [DescribeThingGroup: status ACTIVE, BUILDING or REBUILDING; absent for static groups].
        """
        operation = self.operations[Api.LIST_THINGS_IN_THING_GROUP]
        failure = f"cannot list thing group {group}"
        try:
            response = await operation.call(lambda: self._client.describe_thing_group(thingGroupName=group))
        except RegistryCallError as error:
            return QueryFailed(f"{failure}: {error}")
        if response.get("thingGroupName") != group:
            return QueryFailed(f"{failure}: the response describes another group")
        if response.get("status", "ACTIVE") != "ACTIVE":
            return QueryFailed(f"{failure}: the group is being built ({sanitize(response['status'])})")

        def fetch_page(token: Mapping[str, str]) -> Any:
            return self._client.list_things_in_thing_group(
                thingGroupName=group, recursive=recursive, maxResults=_GROUP_PAGE_SIZE, **token
            )

        return await _fetch_all_pages(operation, fetch_page, lambda response: response.get("things", []), failure)

    async def search_index(self, query: str) -> frozenset[str] | QueryFailed:
        """List the things that a fleet indexing query finds."""

        def fetch_page(token: Mapping[str, str]) -> Any:
            return self._client.search_index(queryString=query, maxResults=_SEARCH_PAGE_SIZE, **token)

        def extract_names(response: Mapping[str, Any]) -> Any:
            return [document["thingName"] for document in response.get("things", [])]

        failure = f"cannot search the index for {sanitize(query)!r}"
        return await _fetch_all_pages(self.operations[Api.SEARCH_INDEX], fetch_page, extract_names, failure)


async def _fetch_all_pages(
    operation: RateLimitedOperation,
    fetch_page: Callable[[Mapping[str, str]], Any],
    extract_names: Callable[[Mapping[str, Any]], Any],
    failure: str,
) -> frozenset[str] | QueryFailed:
    """The names of all pages; fails if any page fails."""
    names: set[str] = set()
    used_tokens: set[str] = set()
    token: dict[str, str] = {}
    while True:
        try:
            response = await operation.call(lambda token=token: fetch_page(token))  # type: ignore[misc]  # mypy infers no defaults
            page_names = extract_names(response)
        except RegistryCallError as error:
            return QueryFailed(f"{failure}: {error}")
        except (KeyError, TypeError, AttributeError):
            page_names = None
        if not isinstance(page_names, list) or not all(isinstance(name, str) for name in page_names):
            return QueryFailed(f"{failure}: the response contains an invalid name")
        names.update(page_names)
        next_token = response.get("nextToken")
        if not next_token:
            return frozenset(names)
        if not isinstance(next_token, str) or next_token in used_tokens:
            return QueryFailed(f"{failure}: the pages repeat")
        used_tokens.add(next_token)
        token = {"nextToken": next_token}


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
    region = resolve_endpoint(connection).region
    async with open_service_client(
        _SERVICE,
        connection,
        region,
        endpoint,
        max_pool_connections=limits.concurrency,
        http_session_cls=TracingSession,
        parameter_validation=False,  # names are already checked
    ) as (client, credentials):
        require_json_responses(client)
        yield IotRegistry(client, limits, credentials=credentials, timeout=connection.request_timeout)
