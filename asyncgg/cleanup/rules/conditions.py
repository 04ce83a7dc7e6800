"""The conditions of rules: those of the snapshot and the lists, then those that need AWS IoT lookups."""

from __future__ import annotations

import fnmatch
import re
from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asyncgg.cleanup.rules.base import (
    Api,
    Candidate,
    Condition,
    ConditionKind,
    Facts,
    QueryFailed,
    SetQuery,
    ThingDescription,
)
from asyncgg.formatting import format_count

_DAY = 86400.0
_NOT_QUERIED = "not looked up"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A case-sensitive glob (`*`, `?`, `[...]`) or regular expression, for a whole text."""

    text: str
    regex: bool = False
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the pattern. Raises `re.error`."""
        source = self.text if self.regex else fnmatch.translate(self.text)
        object.__setattr__(self, "_compiled", re.compile(source))

    def matches(self, text: str) -> bool:
        """Whether the pattern matches the whole text."""
        return self._compiled.fullmatch(text) is not None

    def __str__(self) -> str:
        return f"/{self.text}/" if self.regex else self.text


@dataclass(frozen=True, slots=True)
class ThingName(Condition):
    """The thing's name matches."""

    pattern: Pattern

    key = "name"
    label_format = "name {0.pattern}"
    source = "the name itself"
    default_kind = ConditionKind.SCOPE

    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        return self.pattern.matches(candidate.thing)

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        return f"the name is {candidate.thing}"


@dataclass(frozen=True, slots=True)
class AssociatedBefore(Condition):
    """The association is older than `age`, or was made before the time `before`."""

    age: float | None = None
    """Seconds before now."""
    before: float | None = None
    """Seconds since 1970, UTC; used if `age` is None."""
    text: str = ""

    key = "associated-before"
    label_format = "associated-before {0.text}"
    source = "inventory"
    default_kind = ConditionKind.SCOPE

    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        at = candidate.associated_at
        limit = self.before if self.age is None else now - self.age
        return None if at is None else limit is not None and at < limit

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        if candidate.associated_at is None:
            return "the listing has no association time"
        return f"associated {_format_time(candidate.associated_at, now)}"


@dataclass(frozen=True, slots=True)
class CoreStatus(Condition):
    """The core device has this status."""

    status: str
    """HEALTHY or UNHEALTHY [Greengrass V2 service model: CoreDeviceStatus]."""

    key = "core-status"
    label_format = "core-status {0.status}"
    source = "inventory"

    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        return candidate.core.status == self.status if candidate.core.status else None

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        if not candidate.core.status:
            return "the listing has no status of the core"
        return f"the core is {candidate.core.status}"


@dataclass(frozen=True, slots=True)
class CoreOfflineFor(Condition):
    """The core device has not reported its status for longer than `seconds`."""

    seconds: float
    text: str = ""

    key = "core-offline-for"
    label_format = "core-offline-for {0.text}"
    source = "inventory"

    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        at = candidate.core.last_status_at
        return None if at is None else now - at > self.seconds

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        at = candidate.core.last_status_at
        if at is None:
            return "the listing has no time of the core's last status"
        return f"last status {_format_time(at, now)}"


@dataclass(frozen=True, slots=True)
class NotIn(Condition):
    """The thing is not in a list of things to keep."""

    file: str
    """A path or `s3://bucket/key`; the key in `Facts.lists`."""
    allow_empty: bool = False

    key = "not-in"
    label_format, negated_format = "not-in {0.file}", "in {0.file}"
    source = "the list"

    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        names = facts.lists.get(self.file)
        return None if names is None else candidate.thing not in names

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        names = facts.lists.get(self.file)
        if names is None:
            return f"{self.file} not read"
        membership = "is in" if candidate.thing in names else "is not in"
        return f"{membership} {self.file} ({format_count(len(names), 'name')})"


class ThingCondition(Condition):
    """A condition on the result of DescribeThing; one call serves all of them."""

    __slots__ = ()
    source = "AWS IoT, DescribeThing"
    required_api = Api.DESCRIBE_THING

    @abstractmethod
    def _holds_for(self, description: ThingDescription) -> bool | None:
        """Whether the condition holds, from the description of the thing."""

    @abstractmethod
    def _explain_description(self, description: ThingDescription) -> str:
        """The fact behind the result, from the description of the thing."""

    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        description = facts.things.get(candidate.thing)
        return self._holds_for(description) if isinstance(description, ThingDescription) else None

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

    def _holds_for(self, description: ThingDescription) -> bool | None:
        return not description.exists

    def _explain_description(self, description: ThingDescription) -> str:
        return "the thing exists" if description.exists else "the thing does not exist"


@dataclass(frozen=True, slots=True)
class ThingType(ThingCondition):
    """The thing has this type; unknown if the thing does not exist."""

    type: str

    key = "thing-type"
    label_format = "thing-type {0.type}"
    default_kind = ConditionKind.SCOPE

    def _holds_for(self, description: ThingDescription) -> bool | None:
        return description.type == self.type if description.exists else None

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

    @property
    def label(self) -> str:
        """The name and what is tested."""
        if self.equals is not None:
            return f"thing-attribute {self.name}={self.equals}"
        if self.glob is not None:
            return f"thing-attribute {self.name}~{self.glob}"
        return f"thing-attribute {self.name} {'exists' if self.exists else 'is absent'}"

    def _holds_for(self, description: ThingDescription) -> bool | None:
        if not description.exists:
            return None
        value = description.attributes.get(self.name)
        if self.exists is not None:
            return (value is not None) is self.exists
        if self.glob is not None:
            return value is not None and self.glob.matches(value)
        return value == self.equals

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

    def _holds(self, candidate: Candidate, facts: Facts, now: float) -> bool | None:
        names = facts.sets.get(self.set_query)
        return None if names is None or isinstance(names, QueryFailed) else candidate.thing in names

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        names = facts.sets.get(self.set_query)
        if names is None:
            return _NOT_QUERIED
        if isinstance(names, QueryFailed):
            return names.reason
        return f"{'in' if candidate.thing in names else 'not in'} the result ({format_count(len(names), 'thing')})"

    def _is_resolved(self, candidate: Candidate, facts: Facts) -> bool:
        return self.set_query in facts.sets


@dataclass(frozen=True, slots=True)
class ThingGroup(SetCondition):
    """The thing is a member of the thing group, or of a nested group."""

    group: str
    recursive: bool = True

    key = "thing-group"
    label_format = "thing-group {0.group}"
    source = "AWS IoT, ListThingsInThingGroup"
    required_api = Api.LIST_THINGS_IN_THING_GROUP

    def _set_query(self) -> SetQuery:
        return SetQuery(Api.LIST_THINGS_IN_THING_GROUP, self.group, self.recursive)


@dataclass(frozen=True, slots=True)
class IndexQuery(SetCondition):
    """A fleet indexing query finds the thing. The index may lag behind the registry."""

    query: str

    key = "index-query"
    label_format = "index-query {0.query!r}"
    source = "AWS IoT, SearchIndex"
    required_api = Api.SEARCH_INDEX

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


def _format_time(at: float, now: float) -> str:
    try:
        date = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):  # outside the range of datetime
        return f"at {at:g}"
    return f"{date}, {(now - at) / _DAY:,.1f} days ago" if at <= now else f"{date}, in the future"
