"""Rule: conditions that only AWS IoT can answer live here; who asks it, and how, does not. Pure."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass

from asyncgg.cleanup.rules.answer import Answer
from asyncgg.cleanup.rules.base import Api, Candidate, Condition, Described, Ground, Known, NoAnswer, SetQuestion
from asyncgg.cleanup.rules.offline import Pattern

__all__ = ["IndexQuery", "SetCondition", "ThingAttribute", "ThingCondition", "ThingGroup", "ThingMissing", "ThingType"]

_UNASKED = "it was not asked"


class ThingCondition(Condition):
    """Answered by what DescribeThing says of the thing: one question serves all of these."""

    __slots__ = ()
    source = "AWS IoT, DescribeThing"
    asks = Api.DESCRIBE_THING

    @abstractmethod
    def _of(self, described: Described) -> Answer:
        """The answer, from the registry's."""

    @abstractmethod
    def _phrase(self, described: Described) -> str:
        """What it rests on, from the registry's answer."""

    def _answer(self, candidate: Candidate, known: Known, now: float) -> Answer:
        described = known.things.get(candidate.thing)
        return self._of(described) if isinstance(described, Described) else Answer.UNKNOWN

    def _because(self, candidate: Candidate, known: Known, now: float) -> str:
        described = known.things.get(candidate.thing)
        if isinstance(described, Described):
            return self._phrase(described)
        return described.reason if described else _UNASKED

    def _asked(self, candidate: Candidate, known: Known) -> bool:
        return candidate.thing in known.things


@dataclass(frozen=True, slots=True)
class ThingMissing(ThingCondition):
    """The registry has no such thing: an orphan."""

    key = "thing-missing"
    ground = Ground.EVIDENCE

    def _label(self) -> str:
        return "thing-missing"

    def _of(self, described: Described) -> Answer:
        return Answer.NO if described.exists else Answer.YES

    def _phrase(self, described: Described) -> str:
        return "the thing exists" if described.exists else "there is no such thing"


@dataclass(frozen=True, slots=True)
class ThingType(ThingCondition):
    """The thing is of this type. Of a thing that is not there nobody can tell, so then the answer is unknown."""

    type: str

    key = "thing-type"
    ground = Ground.SCOPE

    def _label(self) -> str:
        return f"thing-type {self.type}"

    def _of(self, described: Described) -> Answer:
        if not described.exists:
            return Answer.UNKNOWN
        return Answer.YES if described.type == self.type else Answer.NO

    def _phrase(self, described: Described) -> str:
        if not described.exists:
            return "there is no such thing, so nobody knows its type"
        return f"its type is {described.type}" if described.type else "it has no type"


@dataclass(frozen=True, slots=True)
class ThingAttribute(ThingCondition):
    """An attribute of the thing equals, matches, exists or does not; unknown for a thing that is not there."""

    name: str
    equals: str | None = None
    glob: Pattern | None = None
    exists: bool | None = None

    key = "thing-attribute"
    ground = Ground.EVIDENCE

    def _label(self) -> str:
        if self.equals is not None:
            return f"thing-attribute {self.name}={self.equals}"
        if self.glob is not None:
            return f"thing-attribute {self.name}~{self.glob}"
        return f"thing-attribute {self.name} {'exists' if self.exists else 'is absent'}"

    def _of(self, described: Described) -> Answer:
        if not described.exists:
            return Answer.UNKNOWN
        value = described.attributes.get(self.name)
        if self.exists is not None:
            holds = (value is not None) is self.exists
        elif self.glob is not None:
            holds = value is not None and self.glob.matches(value)
        else:
            holds = value == self.equals
        return Answer.YES if holds else Answer.NO

    def _phrase(self, described: Described) -> str:
        if not described.exists:
            return "there is no such thing, so nobody knows its attributes"
        value = described.attributes.get(self.name)
        return f"it has no attribute {self.name}" if value is None else f"{self.name} is {value!r}"


class SetCondition(Condition):
    """Answered by a set of things that is asked for once."""

    __slots__ = ()

    @property
    def question(self) -> SetQuestion:
        """What to ask."""
        return self._question()

    @abstractmethod
    def _question(self) -> SetQuestion: ...

    def _answer(self, candidate: Candidate, known: Known, now: float) -> Answer:
        names = known.sets.get(self.question)
        if names is None or isinstance(names, NoAnswer):
            return Answer.UNKNOWN
        return Answer.YES if candidate.thing in names else Answer.NO

    def _because(self, candidate: Candidate, known: Known, now: float) -> str:
        names = known.sets.get(self.question)
        if names is None:
            return _UNASKED
        if isinstance(names, NoAnswer):
            return names.reason
        return f"{'among' if candidate.thing in names else 'not among'} the {len(names):,} things of the answer"

    def _asked(self, candidate: Candidate, known: Known) -> bool:
        return self.question in known.sets


@dataclass(frozen=True, slots=True)
class ThingGroup(SetCondition):
    """The thing is a member of the thing group, or of a group within it."""

    group: str
    recursive: bool = True

    key = "thing-group"
    source = "AWS IoT, ListThingsInThingGroup"
    ground = Ground.EVIDENCE
    asks = Api.LIST_THINGS_IN_THING_GROUP

    def _label(self) -> str:
        return f"thing-group {self.group}"

    def _question(self) -> SetQuestion:
        return SetQuestion(Api.LIST_THINGS_IN_THING_GROUP, self.group, self.recursive)


@dataclass(frozen=True, slots=True)
class IndexQuery(SetCondition):
    """Fleet indexing finds the thing by this query. The index lags behind the registry by seconds, sometimes more."""

    query: str

    key = "index-query"
    source = "AWS IoT, SearchIndex"
    asks = Api.SEARCH_INDEX

    def _label(self) -> str:
        return f"index-query {self.query!r}"

    def _question(self) -> SetQuestion:
        return SetQuestion(Api.SEARCH_INDEX, self.query)

    @property
    def grounds(self) -> Ground:
        """Connectivity, when its terms speak of nothing else but of which things are meant."""
        fields = {term.lower() for term in re.findall(r"([A-Za-z][\w.$-]*)\s*:", _without_quotes(self.query))}
        connectivity = {name for name in fields if name.startswith("connectivity.")}
        if connectivity and all(name in connectivity or name in _SCOPE_FIELDS for name in fields):
            return Ground.CONNECTIVITY
        return Ground.EVIDENCE


_SCOPE_FIELDS = frozenset({"thingname", "thingtypename", "thingid"})


def _without_quotes(query: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)
