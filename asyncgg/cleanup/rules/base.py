"""Rule: what every condition is made of lives here: the candidate, what is known about it, the questions. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import ClassVar, NamedTuple

from asyncgg.cleanup.rules.answer import Ternary
from asyncgg.models import CoreDevice

__all__ = ["Api", "Candidate", "Condition", "ConditionKind", "Facts", "QueryFailed", "SetQuery", "ThingDescription"]


class Candidate(NamedTuple):
    """One association that may go, as the inventory tells it."""

    core: CoreDevice
    thing: str
    associated_at: float | None
    """Seconds since 1970, UTC; None when the listing did not say."""


class Api(StrEnum):
    """The operations of AWS IoT by which conditions are answered [service model: iot/2015-05-28]."""

    DESCRIBE_THING = "DescribeThing"
    SEARCH_INDEX = "SearchIndex"
    LIST_THINGS_IN_THING_GROUP = "ListThingsInThingGroup"


class ConditionKind(Enum):
    """What a condition says about a thing being of no use any more."""

    EVIDENCE = "evidence"
    SCOPE = "scope"
    """Nothing: it narrows down which things are meant; every healthy thing in scope fulfils it as well."""
    CONNECTIVITY = "connectivity"
    """Only that it is not connected to AWS IoT Core, which is usual for a healthy client device."""


@dataclass(frozen=True, slots=True)
class QueryFailed:
    """A question that was asked and not answered."""

    reason: str


@dataclass(frozen=True, slots=True)
class ThingDescription:
    """What the registry says of one thing."""

    exists: bool
    type: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetQuery:
    """A question whose answer is a set of things: asked once, whatever the number of candidates."""

    api: Api
    subject: str
    """A thing group's name, or a query."""
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Every answer had so far; what is absent has not been asked."""

    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Names of things by the file or S3 object they stand in."""
    sets: Mapping[SetQuery, frozenset[str] | QueryFailed] = field(default_factory=dict)
    things: Mapping[str, ThingDescription | QueryFailed] = field(default_factory=dict)


class Condition(ABC):
    """A leaf of the tree of rules: one question about one candidate."""

    __slots__ = ()

    key: ClassVar[str]
    """As it is written in a policy."""
    source: ClassVar[str]
    """Where its answer comes from, for people."""
    default_kind: ClassVar[ConditionKind] = ConditionKind.EVIDENCE
    required_api: ClassVar[Api | None] = None

    @property
    def label(self) -> str:
        """The condition in a few words, as the reason of an outcome shows it."""
        return self._label()

    def evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        """The answer; `now` in seconds since 1970, UTC."""
        return self._evaluate(candidate, facts, now)

    def explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        """What the answer rests on, as a phrase."""
        return self._explain(candidate, facts, now)

    def is_resolved(self, candidate: Candidate, facts: Facts) -> bool:
        """Whether no further question could change the answer."""
        return self._is_resolved(candidate, facts)

    @property
    def kind(self) -> ConditionKind:
        """What its answer says about the thing."""
        return self.default_kind

    @abstractmethod
    def _label(self) -> str: ...

    @abstractmethod
    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary: ...

    @abstractmethod
    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str: ...

    def _is_resolved(self, candidate: Candidate, facts: Facts) -> bool:
        return True
