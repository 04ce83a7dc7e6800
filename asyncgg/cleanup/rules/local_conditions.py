"""Rule: conditions that the inventory and lists at hand can answer live here: nothing of AWS IoT. Pure."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asyncgg.cleanup.rules.answer import Ternary
from asyncgg.cleanup.rules.base import Candidate, Condition, ConditionKind, Facts

__all__ = ["AssociatedBefore", "CoreOfflineFor", "CoreStatus", "NotIn", "Pattern", "ThingName"]

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Pattern:
    """A glob (`*`, `?`, `[...]`) or a regular expression that has to match the whole text; case counts."""

    text: str
    regex: bool = False
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile. Raises `re.error`."""
        source = self.text if self.regex else fnmatch.translate(self.text)
        object.__setattr__(self, "_compiled", re.compile(source))

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` is meant."""
        return self._compiled.fullmatch(text) is not None

    def __str__(self) -> str:
        return f"/{self.text}/" if self.regex else self.text


@dataclass(frozen=True, slots=True)
class ThingName(Condition):
    """The thing's name matches."""

    pattern: Pattern

    key = "name"
    source = "the name itself"
    default_kind = ConditionKind.SCOPE

    def _label(self) -> str:
        return f"name {self.pattern}"

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        return Ternary.YES if self.pattern.matches(candidate.thing) else Ternary.NO

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        return f"the name is {candidate.thing}"


@dataclass(frozen=True, slots=True)
class AssociatedBefore(Condition):
    """The association is older than `age`, or than the moment `before`."""

    age: float | None = None
    """Seconds before now."""
    before: float | None = None
    """Seconds since 1970, UTC; where there is no age."""
    text: str = ""

    key = "associated-before"
    source = "inventory"
    default_kind = ConditionKind.SCOPE

    def _label(self) -> str:
        return f"associated-before {self.text}"

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        at = candidate.associated_at
        if at is None:
            return Ternary.UNKNOWN
        limit = self.before if self.age is None else now - self.age
        return Ternary.YES if limit is not None and at < limit else Ternary.NO

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        if candidate.associated_at is None:
            return "the listing did not say since when"
        return f"associated {_format_time(candidate.associated_at, now)}"


@dataclass(frozen=True, slots=True)
class CoreStatus(Condition):
    """The core device reports this status."""

    status: str
    """HEALTHY or UNHEALTHY [Greengrass V2 service model: CoreDeviceStatus]."""

    key = "core-status"
    source = "inventory"
    default_kind = ConditionKind.EVIDENCE

    def _label(self) -> str:
        return f"core-status {self.status}"

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        if not candidate.core.status:
            return Ternary.UNKNOWN
        return Ternary.YES if candidate.core.status == self.status else Ternary.NO

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        if not candidate.core.status:
            return "the listing did not tell the core's status"
        return f"the core is {candidate.core.status}"


@dataclass(frozen=True, slots=True)
class CoreOfflineFor(Condition):
    """The core device has not reported its status for longer than `seconds`."""

    seconds: float
    text: str = ""

    key = "core-offline-for"
    source = "inventory"
    default_kind = ConditionKind.EVIDENCE

    def _label(self) -> str:
        return f"core-offline-for {self.text}"

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        at = candidate.core.last_status_at
        if at is None:
            return Ternary.UNKNOWN
        return Ternary.YES if now - at > self.seconds else Ternary.NO

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        at = candidate.core.last_status_at
        return (
            "the listing did not say when the core reported last"
            if at is None
            else f"last status {_format_time(at, now)}"
        )


@dataclass(frozen=True, slots=True)
class NotIn(Condition):
    """The thing is not in a list of what must stay."""

    file: str
    """A path or `s3://bucket/key`: the list's key in `Facts.lists`."""
    allow_empty: bool = False

    key = "not-in"
    source = "the list"
    default_kind = ConditionKind.EVIDENCE

    def _label(self) -> str:
        return f"not-in {self.file}"

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        names = facts.lists.get(self.file)
        if names is None:
            return Ternary.UNKNOWN
        return Ternary.NO if candidate.thing in names else Ternary.YES

    def _explain(self, candidate: Candidate, facts: Facts, now: float) -> str:
        names = facts.lists.get(self.file)
        if names is None:
            return f"{self.file} was not read"
        membership = "is in" if candidate.thing in names else "is not in"
        return f"{membership} {self.file} ({len(names):,} names)"


def _format_time(at: float, now: float) -> str:
    try:
        date = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):  # a time no calendar has
        return f"at {at:g}"
    return f"{date}, {(now - at) / _DAY:,.1f} days ago" if at <= now else f"{date}, which is to come"
