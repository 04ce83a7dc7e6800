"""Values that every condition uses: candidates, lookup results, three-valued results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import ClassVar, NamedTuple

from asyncgg.models import CoreDevice


class Ternary(Enum):
    """The result of a rule for one candidate, in Kleene's three-valued logic. Only YES selects."""

    # A result that becomes known never changes a combination that was already YES or NO. So an
    # early decision stays right, and a lookup that fails can only reduce the selection.

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """The lookup failed, or has not been made yet."""

    @staticmethod
    def of(value: bool | None) -> Ternary:
        """YES or NO; UNKNOWN for None."""
        return Ternary.UNKNOWN if value is None else Ternary.YES if value else Ternary.NO

    def negated(self) -> Ternary:
        """The result of `not`: unknown stays unknown."""
        return _NEGATED[self]

    @staticmethod
    def all_of(values: Iterable[Ternary]) -> Ternary:
        """NO if any value is NO, else UNKNOWN if any is UNKNOWN, else YES."""
        return _combine(values, Ternary.NO, Ternary.YES)

    @staticmethod
    def any_of(values: Iterable[Ternary]) -> Ternary:
        """YES if any value is YES, else UNKNOWN if any is UNKNOWN, else NO."""
        return _combine(values, Ternary.YES, Ternary.NO)


_NEGATED = {Ternary.YES: Ternary.NO, Ternary.NO: Ternary.YES, Ternary.UNKNOWN: Ternary.UNKNOWN}


def _combine(values: Iterable[Ternary], absorbing: Ternary, default: Ternary) -> Ternary:
    has_unknown = False
    for value in values:
        if value is absorbing:
            return absorbing
        has_unknown = has_unknown or value is Ternary.UNKNOWN
    return Ternary.UNKNOWN if has_unknown else default


class Candidate(NamedTuple):
    """One association that a policy decides about."""

    core: CoreDevice
    thing: str
    associated_at: float | None
    """Seconds since 1970, UTC; None if the listing did not report it."""


class Api(StrEnum):
    """The AWS IoT operations that conditions use [service model: iot/2015-05-28]."""

    DESCRIBE_THING = "DescribeThing"
    SEARCH_INDEX = "SearchIndex"
    LIST_THINGS_IN_THING_GROUP = "ListThingsInThingGroup"


class ConditionKind(Enum):
    """What a condition proves about a thing being obsolete."""

    EVIDENCE = "evidence"
    SCOPE = "scope"
    """Nothing: the condition only narrows the scope, and holds for healthy things as well."""
    CONNECTIVITY = "connectivity"
    """Only that the thing is not connected to AWS IoT Core, like most healthy client devices."""


@dataclass(frozen=True, slots=True)
class QueryFailed:
    """The result of a lookup that failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class ThingDescription:
    """What the registry contains about one thing."""

    exists: bool
    type: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetQuery:
    """A lookup that returns a set of things, made once for all candidates."""

    api: Api
    subject: str
    """The name of a thing group, or a query."""
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """All lookup results so far; what is missing has not been looked up."""

    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Thing names, by the file or S3 object that lists them."""
    sets: Mapping[SetQuery, frozenset[str] | QueryFailed] = field(default_factory=dict)
    things: Mapping[str, ThingDescription | QueryFailed] = field(default_factory=dict)


class Condition(ABC):
    """A leaf of a rule: one test of one candidate. Pure."""

    __slots__ = ()

    key: ClassVar[str]
    """The key in a policy."""
    label_format: ClassVar[str] = "{0.key}"
    """The format of `label`."""
    negated_format: ClassVar[str] = "not {0.label}"
    """The format of `negated_label`."""
    source: ClassVar[str]
    """The source of the result, as `--explain` shows it."""
    default_kind: ClassVar[ConditionKind] = ConditionKind.EVIDENCE
    required_api: ClassVar[Api | None] = None

    @property
    def label(self) -> str:
        """The condition as the reason of a decision shows it."""
        return self.label_format.format(self)

    @property
    def negated_label(self) -> str:
        """The same if the condition does not hold."""
        return self.negated_format.format(self)

    def evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        """The result; `now` in seconds since 1970, UTC."""
        return Ternary.of(self._holds(candidate, facts, now))

    def explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        """The fact behind the result, as a phrase."""
        return self._explain(candidate, facts, now)

    def is_resolved(self, candidate: Candidate, facts: Facts) -> bool:
        """Whether no further lookup can change the result."""
        return self._is_resolved(candidate, facts)

    @property
    def kind(self) -> ConditionKind:
        """What the condition proves about the thing."""
        return self.default_kind

    @abstractmethod
    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        """Whether the condition holds; None if that is unknown."""

    @abstractmethod
    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str: ...

    def _is_resolved(self, candidate: Candidate, facts: Facts) -> bool:
        return True
