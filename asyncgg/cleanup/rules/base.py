"""Rule: what every condition is made of lives here: the candidate, what is known about it, the questions. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import ClassVar, NamedTuple

from asyncgg.cleanup.rules.answer import Answer
from asyncgg.model import CoreDevice

__all__ = ["Api", "Candidate", "Condition", "Described", "Ground", "Known", "NoAnswer", "SetQuestion"]


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


class Ground(Enum):
    """What a condition says about a thing being of no use any more."""

    EVIDENCE = "evidence"
    SCOPE = "scope"
    """Nothing: it narrows down which things are meant; every healthy thing in scope fulfils it as well."""
    CONNECTIVITY = "connectivity"
    """Only that it is not connected to AWS IoT Core, which is usual for a healthy client device."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A question that was asked and not answered."""

    reason: str


@dataclass(frozen=True, slots=True)
class Described:
    """What the registry says of one thing."""

    exists: bool
    type: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetQuestion:
    """A question whose answer is a set of things: asked once, whatever the number of candidates."""

    api: Api
    subject: str
    """A thing group's name, or a query."""
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """Every answer had so far; what is absent has not been asked."""

    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Names of things by the file or S3 object they stand in."""
    sets: Mapping[SetQuestion, frozenset[str] | NoAnswer] = field(default_factory=dict)
    things: Mapping[str, Described | NoAnswer] = field(default_factory=dict)


class Condition(ABC):
    """A leaf of the tree of rules: one question about one candidate."""

    __slots__ = ()

    key: ClassVar[str]
    """As it is written in a policy."""
    source: ClassVar[str]
    """Where its answer comes from, for people."""
    ground: ClassVar[Ground] = Ground.EVIDENCE
    asks: ClassVar[Api | None] = None

    @property
    def label(self) -> str:
        """The condition in a few words, as the reason of an outcome shows it."""
        return self._label()

    def answer(self, candidate: Candidate, known: Known, now: float) -> Answer:
        """The answer; `now` in seconds since 1970, UTC."""
        return self._answer(candidate, known, now)

    def because(self, candidate: Candidate, known: Known, now: float) -> str:
        """What the answer rests on, as a phrase."""
        return self._because(candidate, known, now)

    def asked(self, candidate: Candidate, known: Known) -> bool:
        """Whether no further question could change the answer."""
        return self._asked(candidate, known)

    @property
    def grounds(self) -> Ground:
        """What its answer says about the thing."""
        return self.ground

    @abstractmethod
    def _label(self) -> str: ...

    @abstractmethod
    def _answer(self, candidate: Candidate, known: Known, now: float) -> Answer: ...

    @abstractmethod
    def _because(self, candidate: Candidate, known: Known, now: float) -> str: ...

    def _asked(self, candidate: Candidate, known: Known) -> bool:
        return True
