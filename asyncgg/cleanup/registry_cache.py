"""Rule: what has been asked of AWS IoT, and what is still to ask, is kept here; how an answer is got is the registry's.

Every question is asked once: a set (a thing group, a query) once for all candidates, a thing once for all its rules and
cores. What could not be answered is known as such (`QueryFailed`) and not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from asyncgg.cleanup.rules import Api, Facts, QueryFailed, SetQuery, ThingDescription

__all__ = ["RegistryCache", "RegistryStatistics", "ThingRegistry"]

_MAX_CACHED: Final = 100_000
"""Things whose description is held: enough for the things of many cores, little enough for a million."""

_MAX_WARNINGS: Final = 3
"""Reasons why things could not be asked for that people are told; a fourth would hardly help."""


class ThingRegistry(Protocol):
    """Who answers; an answer that could not be had is `QueryFailed`, and only `CredentialsError` is raised."""

    async def describe_thing(self, thing: str) -> ThingDescription | QueryFailed:
        """What the registry says of one thing."""
        ...

    async def list_group(self, group: str, recursive: bool) -> frozenset[str] | QueryFailed:
        """All things of a thing group."""
        ...

    async def search_index(self, query: str) -> frozenset[str] | QueryFailed:
        """All things that fleet indexing finds."""
        ...


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """What was asked so far."""

    things: int
    """Things asked for one by one."""
    missing: int
    """Of these: those the registry does not have."""
    sets: int
    """Thing groups and queries asked for."""
    failed: int
    """Questions of both kinds without an answer."""


class RegistryCache:
    """Asks a registry for what the rules need, and keeps what it said.

    `lists`: the names of each `not-in`, read before. `registry`: None where no rule asks AWS IoT. `on_warning`: told
    why a set could not be had, and the first few reasons why things could not.
    """

    def __init__(
        self,
        registry: ThingRegistry | None = None,
        *,
        lists: Mapping[str, frozenset[str]] | None = None,
        concurrency: int = 32,
        on_warning: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._registry = registry
        self._concurrency = concurrency
        self._warn = on_warning
        self._sets: dict[SetQuery, frozenset[str] | QueryFailed] = {}
        self._things: dict[str, ThingDescription | QueryFailed] = {}
        self._things_queried = self._missing = self._failed = 0
        self._warned_reasons: set[str] = set()
        self.facts: Final = Facts(lists=dict(lists or {}), sets=self._sets, things=self._things)
        """Every answer so far; it grows as more is asked."""

    def statistics(self) -> RegistryStatistics:
        """What was asked so far."""
        return RegistryStatistics(self._things_queried, self._missing, len(self._sets), self._failed)

    async def fetch_sets(self, queries: Iterable[SetQuery]) -> None:
        """Ask what has not been asked. Raises `CredentialsError`."""
        for query in dict.fromkeys(queries):
            if query not in self._sets:
                result = self._sets[query] = await self._query_set(query)
                if isinstance(result, QueryFailed):
                    self._failed += 1
                    self._warn(f"{result.reason}; a rule that needs this selects nothing")
                elif not result and query.api is Api.LIST_THINGS_IN_THING_GROUP:
                    self._warn(f"the thing group {query.subject} has no things")

    async def fetch_things(self, things: Iterable[str]) -> None:
        """Ask for those that have not been asked for, several at the same time. Raises `CredentialsError`."""
        missing = [thing for thing in dict.fromkeys(things) if thing not in self._things]
        pending = iter(missing)

        async def worker() -> None:
            for thing in pending:
                self._record(thing, await self._describe(thing))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, len(missing))):
                    group.create_task(worker())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def any_exists(self, things: Iterable[str]) -> bool:
        """Whether the registry has one of these for sure; asked in turn until it has. Raises `CredentialsError`."""
        for thing in things:
            result = await self._describe(thing)
            if isinstance(result, ThingDescription) and result.exists:
                return True
        return False

    def evict(self) -> None:
        """Forget the things when they are many; between two chunks of candidates, never within one."""
        if len(self._things) > _MAX_CACHED:
            self._things.clear()

    async def _query_set(self, query: SetQuery) -> frozenset[str] | QueryFailed:
        if self._registry is None:
            return QueryFailed("AWS IoT is not asked here")
        if query.api is Api.SEARCH_INDEX:
            return await self._registry.search_index(query.subject)
        return await self._registry.list_group(query.subject, query.recursive)

    async def _describe(self, thing: str) -> ThingDescription | QueryFailed:
        if self._registry is None:
            return QueryFailed("AWS IoT is not asked here")
        return await self._registry.describe_thing(thing)

    def _record(self, thing: str, result: ThingDescription | QueryFailed) -> None:
        self._things[thing] = result
        self._things_queried += 1
        if isinstance(result, QueryFailed):
            self._failed += 1
            if result.reason not in self._warned_reasons and len(self._warned_reasons) < _MAX_WARNINGS:
                self._warned_reasons.add(result.reason)
                self._warn(f"{result.reason}; a thing that cannot be asked for is not selected by a rule that needs it")
        elif not result.exists:
            self._missing += 1
