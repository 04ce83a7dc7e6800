"""Rule: the registry of AWS IoT is asked here, and its answers are checked: what is not as it should be is no answer.

Facts of the operations [service model: iot/2015-05-28]. An answer decides what is deleted, so none is believed that is
cut short, that speaks of something else, or that comes from somebody else (a proxy's 404 says nothing of a thing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncgg.cleanup.policy.model import IotLimits
from asyncgg.cleanup.registry_client import RateLimitedOperation, RegistryCallError, RenewableCredentials
from asyncgg.cleanup.rules import Api, QueryFailed, ThingDescription
from asyncgg.formatting import sanitize
from asyncgg.retry_policy import RetryPolicy

__all__ = ["IotRegistry"]

_GROUP_PAGE_SIZE: Final = 250
"""Most things of one page [RegistryMaxResults, 1 to 250]."""
_SEARCH_PAGE_SIZE: Final = 100
"""Most things of one page [SearchIndex: maxResults, at most 100]."""
_NOT_FOUND_CODE: Final = "ResourceNotFoundException"


class IotRegistry:
    """Answers from an open aiobotocore client of the service `iot`; within a running loop."""

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
        """What was called how often, by operation."""

    async def describe_thing(self, thing: str) -> ThingDescription | QueryFailed:
        """What DescribeThing says; only AWS IoT's own ResourceNotFoundException means that the thing is missing."""
        try:
            response = await self.operations[Api.DESCRIBE_THING].call(
                lambda: self._client.describe_thing(thingName=thing)
            )
        except RegistryCallError as error:
            return ThingDescription(exists=False) if error.code == _NOT_FOUND_CODE else QueryFailed(str(error))
        thing_type, attributes = response.get("thingTypeName") or "", response.get("attributes") or {}
        if response.get("thingName") != thing or not isinstance(thing_type, str) or not _is_string_map(attributes):
            return QueryFailed(f"DescribeThing: the answer does not describe {thing}")
        return ThingDescription(True, thing_type, attributes)

    async def list_group(self, group: str, recursive: bool) -> frozenset[str] | QueryFailed:
        """All things of a thing group, of the groups within it too when `recursive`.

        A dynamic group that is still being built lists only a part of its things: no answer then
        [DescribeThingGroup: status is ACTIVE, BUILDING or REBUILDING for dynamic groups, absent for static ones].
        """
        operation = self.operations[Api.LIST_THINGS_IN_THING_GROUP]
        failure = f"the thing group {group} cannot be listed"
        try:
            response = await operation.call(lambda: self._client.describe_thing_group(thingGroupName=group))
        except RegistryCallError as error:
            return QueryFailed(f"{failure}: {error}")
        if response.get("thingGroupName") != group:
            return QueryFailed(f"{failure}: the answer describes another one")
        if response.get("status", "ACTIVE") != "ACTIVE":
            return QueryFailed(f"{failure}: it is still being built ({sanitize(response['status'])})")

        def fetch_page(token: Mapping[str, str]) -> Any:
            return self._client.list_things_in_thing_group(
                thingGroupName=group, recursive=recursive, maxResults=_GROUP_PAGE_SIZE, **token
            )

        return await _fetch_all_pages(operation, fetch_page, lambda answer: answer.get("things", []), failure)

    async def search_index(self, query: str) -> frozenset[str] | QueryFailed:
        """All things that fleet indexing finds by `query`."""

        def fetch_page(token: Mapping[str, str]) -> Any:
            return self._client.search_index(queryString=query, maxResults=_SEARCH_PAGE_SIZE, **token)

        def extract_names(response: Mapping[str, Any]) -> Any:
            return [document["thingName"] for document in response.get("things", [])]

        failure = f"the index cannot be searched for {sanitize(query)!r}"
        return await _fetch_all_pages(self.operations[Api.SEARCH_INDEX], fetch_page, extract_names, failure)


async def _fetch_all_pages(
    operation: RateLimitedOperation,
    fetch_page: Callable[[Mapping[str, str]], Any],
    extract_names: Callable[[Mapping[str, Any]], Any],
    failure: str,
) -> frozenset[str] | QueryFailed:
    """Every name of every page, or none of them: half a set is no answer."""
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
            return QueryFailed(f"{failure}: the answer holds something that is no name")
        names.update(page_names)
        next_token = response.get("nextToken")
        if not next_token:
            return frozenset(names)
        if not isinstance(next_token, str) or next_token in used_tokens:
            return QueryFailed(f"{failure}: its pages go round in a circle")
        used_tokens.add(next_token)
        token = {"nextToken": next_token}


def _is_string_map(attributes: object) -> bool:
    return isinstance(attributes, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in attributes.items()
    )
