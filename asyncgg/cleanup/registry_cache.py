"""The cache of AWS IoT lookups: each set and each thing is looked up once, failed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from asyncgg.aws_calls.for_each import for_each
from asyncgg.cleanup.rules.base import Api, Facts, QueryFailed, SetQuery, ThingDescription

_MAX_CACHED: Final = 100_000
"""Maximum thing descriptions in memory."""
_MAX_WARNINGS: Final = 3
"""Maximum distinct reasons of failed thing lookups that are reported."""


class ThingRegistry(Protocol):
    """The AWS IoT registry. Methods raise `CredentialsError`; other failures are `QueryFailed`."""

    async def describe_thing(self, thing: str) -> ThingDescription | QueryFailed:
        """Look up one thing."""

    async def list_group(self, group: str, recursive: bool) -> frozenset[str] | QueryFailed:
        """List the things of a thing group."""

    async def search_index(self, query: str) -> frozenset[str] | QueryFailed:
        """List the things that a fleet indexing query finds."""


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """The lookups so far."""

    things: int
    """Things looked up."""
    missing: int
    """Of these, things that do not exist."""
    sets: int
    """Thing groups and queries looked up."""
    failed: int
    """Failed lookups of both kinds."""


class RegistryCache:
    """Looks up what the rules need and caches the results.

    `lists`: the names of each `not-in`. `registry`: None if no rule needs AWS IoT. `on_warning` gets
    the reason of each failed set, and the first few reasons of failed things.
    """

    def __init__(
        self,
        registry: ThingRegistry | None = None,
        *,
        lists: Mapping[str, frozenset[str]] | None = None,
        concurrency: int = 32,
        on_warning: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._registry = registry
        self._concurrency = concurrency
        self._warn = on_warning
        self._sets: dict[SetQuery, frozenset[str] | QueryFailed] = {}
        self._things: dict[str, ThingDescription | QueryFailed] = {}
        self._things_queried = self._missing = self._failed = 0
        self._warned_reasons: set[str] = set()
        self.facts: Final = Facts(lists=dict(lists or {}), sets=self._sets, things=self._things)
        """All results so far; grows with each lookup."""

    def statistics(self) -> RegistryStatistics:
        """The lookups so far."""
        return RegistryStatistics(self._things_queried, self._missing, len(self._sets), self._failed)

    async def fetch_sets(self, queries: Iterable[SetQuery]) -> None:
        """Look up sets that are not cached. Raises `CredentialsError`."""
        for query in dict.fromkeys(queries):
            if query not in self._sets:
                result = self._sets[query] = await self._query_set(query)
                if isinstance(result, QueryFailed):
                    self._failed += 1
                    self._warn(f"{result.reason}; rules that need this select nothing")
                elif not result and query.api is Api.LIST_THINGS_IN_THING_GROUP:
                    self._warn(f"thing group {query.subject} is empty")

    async def fetch_things(self, things: Iterable[str]) -> None:
        """Look up things that are not cached, concurrently. Raises `CredentialsError`."""
        missing = [thing for thing in dict.fromkeys(things) if thing not in self._things]

        async def fetch(thing: str) -> None:
            self._record(thing, await self._describe(thing))

        await for_each(missing, fetch, self._concurrency)

    async def any_exists(self, things: Iterable[str]) -> bool:
        """Whether one of these things certainly exists; uncached. Raises `CredentialsError`."""
        for thing in things:
            result = await self._describe(thing)
            if isinstance(result, ThingDescription) and result.exists:
                return True
        return False

    def evict(self) -> None:
        """Empty a full cache of things; only between two chunks of candidates."""
        if len(self._things) > _MAX_CACHED:
            self._things.clear()

    async def _query_set(self, query: SetQuery) -> frozenset[str] | QueryFailed:
        if self._registry is None:
            return QueryFailed("AWS IoT not called")
        if query.api is Api.SEARCH_INDEX:
            return await self._registry.search_index(query.subject)
        return await self._registry.list_group(query.subject, query.recursive)

    async def _describe(self, thing: str) -> ThingDescription | QueryFailed:
        if self._registry is None:
            return QueryFailed("AWS IoT not called")
        return await self._registry.describe_thing(thing)

    def _record(self, thing: str, result: ThingDescription | QueryFailed) -> None:
        self._things[thing] = result
        self._things_queried += 1
        if isinstance(result, QueryFailed):
            self._failed += 1
            if result.reason not in self._warned_reasons and len(self._warned_reasons) < _MAX_WARNINGS:
                self._warned_reasons.add(result.reason)
                self._warn(f"{result.reason}; rules that need a failed lookup do not select the thing")
        elif not result.exists:
            self._missing += 1
