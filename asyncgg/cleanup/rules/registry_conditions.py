"""Conditions that need AWS IoT lookups."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass

from asyncgg.cleanup.rules.base import (
    Api,
    Candidate,
    Condition,
    ConditionKind,
    Facts,
    QueryFailed,
    SetQuery,
    Ternary,
    ThingDescription,
)
from asyncgg.cleanup.rules.local_conditions import Pattern

_NOT_QUERIED = "not looked up"


class ThingCondition(Condition):
    """A condition on the result of DescribeThing; one call serves all of them."""

    __slots__ = ()
    source = "AWS IoT, DescribeThing"
    required_api = Api.DESCRIBE_THING

    @abstractmethod
    def _evaluate_description(self, description: ThingDescription) -> Ternary:
        """The result, from the description of the thing."""

    @abstractmethod
    def _explain_description(self, description: ThingDescription) -> str:
        """The fact behind the result, from the description of the thing."""

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        description = facts.things.get(candidate.thing)
        return self._evaluate_description(description) if isinstance(description, ThingDescription) else Ternary.UNKNOWN

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        description = facts.things.get(candidate.thing)
        if isinstance(description, ThingDescription):
            return self._explain_description(description)
        return description.reason if description else _NOT_QUERIED

    def _is_resolved(self, candidate: Candidate, facts: Facts) -> bool:
        return candidate.thing in facts.things


@dataclass(frozen=True, slots=True)
class ThingMissing(ThingCondition):
    """The registry does not contain the thing."""

    key = "thing-missing"

    def _label(self) -> str:
        return "thing-missing"

    def _evaluate_description(self, description: ThingDescription) -> Ternary:
        return Ternary.NO if description.exists else Ternary.YES

    def _explain_description(self, description: ThingDescription) -> str:
        return "the thing exists" if description.exists else "the thing does not exist"


@dataclass(frozen=True, slots=True)
class ThingType(ThingCondition):
    """The thing has this type; unknown if the thing does not exist."""

    type: str

    key = "thing-type"
    default_kind = ConditionKind.SCOPE

    def _label(self) -> str:
        return f"thing-type {self.type}"

    def _evaluate_description(self, description: ThingDescription) -> Ternary:
        if not description.exists:
            return Ternary.UNKNOWN
        return Ternary.YES if description.type == self.type else Ternary.NO

    def _explain_description(self, description: ThingDescription) -> str:
        if not description.exists:
            return "the thing does not exist, so its type is unknown"
        return f"the type is {description.type}" if description.type else "the thing has no type"


@dataclass(frozen=True, slots=True)
class ThingAttribute(ThingCondition):
    """An attribute equals a value, matches a glob, or exists; unknown if the thing is missing."""

    name: str
    equals: str | None = None
    glob: Pattern | None = None
    exists: bool | None = None

    key = "thing-attribute"

    def _label(self) -> str:
        if self.equals is not None:
            return f"thing-attribute {self.name}={self.equals}"
        if self.glob is not None:
            return f"thing-attribute {self.name}~{self.glob}"
        return f"thing-attribute {self.name} {'exists' if self.exists else 'is absent'}"

    def _evaluate_description(self, description: ThingDescription) -> Ternary:
        if not description.exists:
            return Ternary.UNKNOWN
        value = description.attributes.get(self.name)
        if self.exists is not None:
            holds = (value is not None) is self.exists
        elif self.glob is not None:
            holds = value is not None and self.glob.matches(value)
        else:
            holds = value == self.equals
        return Ternary.YES if holds else Ternary.NO

    def _explain_description(self, description: ThingDescription) -> str:
        if not description.exists:
            return "the thing does not exist, so its attributes are unknown"
        value = description.attributes.get(self.name)
        return f"the thing has no attribute {self.name}" if value is None else f"{self.name} is {value!r}"


class SetCondition(Condition):
    """A condition on a set of things that is looked up once for all candidates."""

    __slots__ = ()

    @property
    def set_query(self) -> SetQuery:
        """The lookup that the condition needs."""
        return self._set_query()

    @abstractmethod
    def _set_query(self) -> SetQuery: ...

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        names = facts.sets.get(self.set_query)
        if names is None or isinstance(names, QueryFailed):
            return Ternary.UNKNOWN
        return Ternary.YES if candidate.thing in names else Ternary.NO

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        names = facts.sets.get(self.set_query)
        if names is None:
            return _NOT_QUERIED
        if isinstance(names, QueryFailed):
            return names.reason
        return f"{'in' if candidate.thing in names else 'not in'} the result ({len(names):,} things)"

    def _is_resolved(self, candidate: Candidate, facts: Facts) -> bool:
        return self.set_query in facts.sets


@dataclass(frozen=True, slots=True)
class ThingGroup(SetCondition):
    """The thing is a member of the thing group, or of a nested group."""

    group: str
    recursive: bool = True

    key = "thing-group"
    source = "AWS IoT, ListThingsInThingGroup"
    required_api = Api.LIST_THINGS_IN_THING_GROUP

    def _label(self) -> str:
        return f"thing-group {self.group}"

    def _set_query(self) -> SetQuery:
        return SetQuery(Api.LIST_THINGS_IN_THING_GROUP, self.group, self.recursive)


@dataclass(frozen=True, slots=True)
class IndexQuery(SetCondition):
    """A fleet indexing query finds the thing. The index may lag behind the registry."""

    query: str

    key = "index-query"
    source = "AWS IoT, SearchIndex"
    required_api = Api.SEARCH_INDEX

    def _label(self) -> str:
        return f"index-query {self.query!r}"

    def _set_query(self) -> SetQuery:
        return SetQuery(Api.SEARCH_INDEX, self.query)

    @property
    def kind(self) -> ConditionKind:
        """CONNECTIVITY if the query has only connectivity and scope fields, else EVIDENCE."""
        fields = {term.lower() for term in re.findall(r"([A-Za-z][\w.$-]*)\s*:", _without_quotes(self.query))}
        connectivity = {name for name in fields if name.startswith("connectivity.")}
        if connectivity and all(name in connectivity or name in _SCOPE_FIELDS for name in fields):
            return ConditionKind.CONNECTIVITY
        return ConditionKind.EVIDENCE


_SCOPE_FIELDS = frozenset({"thingname", "thingtypename", "thingid"})


def _without_quotes(query: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)
