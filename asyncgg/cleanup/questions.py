"""Rule: what has been asked of AWS IoT, and what is still to ask, is kept here; how an answer is got is the registry's.

Every question is asked once: a set (a thing group, a query) once for all candidates, a thing once for all its rules and
cores. What could not be answered is known as such (`NoAnswer`) and not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from asyncgg.cleanup.rules import Api, Described, Known, NoAnswer, SetQuestion

__all__ = ["QuestionStatistics", "Questions", "Registry"]

_HELD: Final = 100_000
"""Things whose description is held: enough for the things of many cores, little enough for a million."""

_TOLD: Final = 3
"""Reasons why things could not be asked for that people are told; a fourth would hardly help."""


class Registry(Protocol):
    """Who answers; an answer that could not be had is `NoAnswer`, and only `CredentialsError` is raised."""

    async def describe(self, thing: str) -> Described | NoAnswer:
        """What the registry says of one thing."""
        ...

    async def members(self, group: str, recursive: bool) -> frozenset[str] | NoAnswer:
        """All things of a thing group."""
        ...

    async def search(self, query: str) -> frozenset[str] | NoAnswer:
        """All things that fleet indexing finds."""
        ...


@dataclass(frozen=True, slots=True)
class QuestionStatistics:
    """What was asked so far."""

    things: int
    """Things asked for one by one."""
    missing: int
    """Of these: those the registry does not have."""
    sets: int
    """Thing groups and queries asked for."""
    unanswered: int
    """Questions of both kinds without an answer."""


class Questions:
    """Asks a registry for what the rules need, and keeps what it said.

    `lists`: the names of each `not-in`, read before. `registry`: None where no rule asks AWS IoT. `on_warning`: told
    why a set could not be had, and the first few reasons why things could not.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        lists: Mapping[str, frozenset[str]] | None = None,
        concurrency: int = 32,
        on_warning: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._registry = registry
        self._concurrency = concurrency
        self._warn = on_warning
        self._sets: dict[SetQuestion, frozenset[str] | NoAnswer] = {}
        self._things: dict[str, Described | NoAnswer] = {}
        self._asked = self._missing = self._unanswered = 0
        self._reasons: set[str] = set()
        self.known: Final = Known(lists=dict(lists or {}), sets=self._sets, things=self._things)
        """Every answer so far; it grows as more is asked."""

    def statistics(self) -> QuestionStatistics:
        """What was asked so far."""
        return QuestionStatistics(self._asked, self._missing, len(self._sets), self._unanswered)

    async def ask_sets(self, questions: Iterable[SetQuestion]) -> None:
        """Ask what has not been asked. Raises `CredentialsError`."""
        for question in dict.fromkeys(questions):
            if question not in self._sets:
                answer = self._sets[question] = await self._set(question)
                if isinstance(answer, NoAnswer):
                    self._unanswered += 1
                    self._warn(f"{answer.reason}; a rule that needs this selects nothing")
                elif not answer and question.api is Api.LIST_THINGS_IN_THING_GROUP:
                    self._warn(f"the thing group {question.subject} has no things")

    async def ask_things(self, things: Iterable[str]) -> None:
        """Ask for those that have not been asked for, several at the same time. Raises `CredentialsError`."""
        wanted = [thing for thing in dict.fromkeys(things) if thing not in self._things]
        left = iter(wanted)

        async def work() -> None:
            for thing in left:
                self._note(thing, await self._thing(thing))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, len(wanted))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def confirms_one_of(self, things: Iterable[str]) -> bool:
        """Whether the registry has one of these for sure; asked in turn until it has. Raises `CredentialsError`."""
        for thing in things:
            answer = await self._thing(thing)
            if isinstance(answer, Described) and answer.exists:
                return True
        return False

    def make_room(self) -> None:
        """Forget the things when they are many; between two chunks of candidates, never within one."""
        if len(self._things) > _HELD:
            self._things.clear()

    async def _set(self, question: SetQuestion) -> frozenset[str] | NoAnswer:
        if self._registry is None:
            return NoAnswer("AWS IoT is not asked here")
        if question.api is Api.SEARCH_INDEX:
            return await self._registry.search(question.subject)
        return await self._registry.members(question.subject, question.recursive)

    async def _thing(self, thing: str) -> Described | NoAnswer:
        if self._registry is None:
            return NoAnswer("AWS IoT is not asked here")
        return await self._registry.describe(thing)

    def _note(self, thing: str, answer: Described | NoAnswer) -> None:
        self._things[thing] = answer
        self._asked += 1
        if isinstance(answer, NoAnswer):
            self._unanswered += 1
            if answer.reason not in self._reasons and len(self._reasons) < _TOLD:
                self._reasons.add(answer.reason)
                self._warn(f"{answer.reason}; a thing that cannot be asked for is not selected by a rule that needs it")
        elif not answer.exists:
            self._missing += 1
