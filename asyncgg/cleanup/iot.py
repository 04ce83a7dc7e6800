"""Rule: the registry of AWS IoT is asked here, and its answers are checked: what is not as it should be is no answer.

Facts of the operations [service model: iot/2015-05-28]. An answer decides what is deleted, so none is believed that is
cut short, that speaks of something else, or that comes from somebody else (a proxy's 404 says nothing of a thing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncgg.backoff import RetryPolicy
from asyncgg.cleanup.iot_calls import Calls, Credentials, NotAnsweredError
from asyncgg.cleanup.policy import IotLimits
from asyncgg.cleanup.rules import Api, Described, NoAnswer
from asyncgg.transport.failure import sanitize

__all__ = ["IotRegistry"]

_GROUP_PAGE: Final = 250
"""Most things of one page [RegistryMaxResults, 1 to 250]."""
_SEARCH_PAGE: Final = 100
"""Most things of one page [SearchIndex: maxResults, at most 100]."""
_MISSING: Final = "ResourceNotFoundException"


class IotRegistry:
    """Answers from an open aiobotocore client of the service `iot`; within a running loop."""

    def __init__(
        self,
        client: Any,
        limits: IotLimits,
        *,
        credentials: Credentials | None = None,
        retry: RetryPolicy | None = None,
        timeout: float = 60.0,
    ) -> None:
        retry = retry or RetryPolicy(max_attempts=8)
        self._client = client
        self.calls: Final = {
            api: Calls(api, limits.rate(api), retry=retry, credentials=credentials, timeout=timeout) for api in Api
        }
        """What was called how often, by operation."""

    async def describe(self, thing: str) -> Described | NoAnswer:
        """What DescribeThing says; only AWS IoT's own ResourceNotFoundException means that the thing is missing."""
        try:
            answer = await self.calls[Api.DESCRIBE_THING].call(lambda: self._client.describe_thing(thingName=thing))
        except NotAnsweredError as error:
            return Described(exists=False) if error.code == _MISSING else NoAnswer(str(error))
        kind, attributes = answer.get("thingTypeName") or "", answer.get("attributes") or {}
        if answer.get("thingName") != thing or not isinstance(kind, str) or not _texts(attributes):
            return NoAnswer(f"DescribeThing: the answer does not describe {thing}")
        return Described(True, kind, attributes)

    async def members(self, group: str, recursive: bool) -> frozenset[str] | NoAnswer:
        """All things of a thing group, of the groups within it too when `recursive`.

        A dynamic group that is still being built lists only a part of its things: no answer then
        [DescribeThingGroup: status is ACTIVE, BUILDING or REBUILDING for dynamic groups, absent for static ones].
        """
        calls = self.calls[Api.LIST_THINGS_IN_THING_GROUP]
        what = f"the thing group {group} cannot be listed"
        try:
            described = await calls.call(lambda: self._client.describe_thing_group(thingGroupName=group))
        except NotAnsweredError as error:
            return NoAnswer(f"{what}: {error}")
        if described.get("thingGroupName") != group:
            return NoAnswer(f"{what}: the answer describes another one")
        if described.get("status", "ACTIVE") != "ACTIVE":
            return NoAnswer(f"{what}: it is still being built ({sanitize(described['status'])})")

        def page(token: Mapping[str, str]) -> Any:
            return self._client.list_things_in_thing_group(
                thingGroupName=group, recursive=recursive, maxResults=_GROUP_PAGE, **token
            )

        return await _pages(calls, page, lambda answer: answer.get("things", []), what)

    async def search(self, query: str) -> frozenset[str] | NoAnswer:
        """All things that fleet indexing finds by `query`."""

        def page(token: Mapping[str, str]) -> Any:
            return self._client.search_index(queryString=query, maxResults=_SEARCH_PAGE, **token)

        def names(answer: Mapping[str, Any]) -> Any:
            return [document["thingName"] for document in answer.get("things", [])]

        what = f"the index cannot be searched for {sanitize(query)!r}"
        return await _pages(self.calls[Api.SEARCH_INDEX], page, names, what)


async def _pages(
    calls: Calls,
    page: Callable[[Mapping[str, str]], Any],
    names: Callable[[Mapping[str, Any]], Any],
    what: str,
) -> frozenset[str] | NoAnswer:
    """Every name of every page, or none of them: half a set is no answer."""
    found: set[str] = set()
    seen: set[str] = set()
    token: dict[str, str] = {}
    while True:
        try:
            answer = await calls.call(lambda token=token: page(token))  # type: ignore[misc]  # mypy infers no defaults
            more = names(answer)
        except NotAnsweredError as error:
            return NoAnswer(f"{what}: {error}")
        except (KeyError, TypeError, AttributeError):
            more = None
        if not isinstance(more, list) or not all(isinstance(name, str) for name in more):
            return NoAnswer(f"{what}: the answer holds something that is no name")
        found.update(more)
        following = answer.get("nextToken")
        if not following:
            return frozenset(found)
        if not isinstance(following, str) or following in seen:
            return NoAnswer(f"{what}: its pages go round in a circle")
        seen.add(following)
        token = {"nextToken": following}


def _texts(attributes: object) -> bool:
    return isinstance(attributes, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in attributes.items()
    )
