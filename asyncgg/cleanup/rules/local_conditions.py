"""Conditions that need only the snapshot and the lists, no AWS IoT lookup."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asyncgg.cleanup.rules.base import Candidate, Condition, ConditionKind, Facts, Ternary

_DAY = 86400.0


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
    """The association is older than `age`, or was made before the time `before`."""

    age: float | None = None
    """Seconds before now."""
    before: float | None = None
    """Seconds since 1970, UTC; used if `age` is None."""
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
            return "the listing has no association time"
        return f"associated {_format_time(candidate.associated_at, now)}"


@dataclass(frozen=True, slots=True)
class CoreStatus(Condition):
    """The core device has this status."""

    status: str
    """HEALTHY or UNHEALTHY [Greengrass V2 service model: CoreDeviceStatus]."""

    key = "core-status"
    source = "inventory"

    def _label(self) -> str:
        return f"core-status {self.status}"

    def _evaluate(self, candidate: Candidate, facts: Facts, now: float) -> Ternary:
        if not candidate.core.status:
            return Ternary.UNKNOWN
        return Ternary.YES if candidate.core.status == self.status else Ternary.NO

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
    source = "inventory"

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
            "the listing has no time of the core's last status"
            if at is None
            else f"last status {_format_time(at, now)}"
        )


@dataclass(frozen=True, slots=True)
class NotIn(Condition):
    """The thing is not in a list of things to keep."""

    file: str
    """A path or `s3://bucket/key`; the key in `Facts.lists`."""
    allow_empty: bool = False

    key = "not-in"
    source = "the list"

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
            return f"{self.file} not read"
        membership = "is in" if candidate.thing in names else "is not in"
        return f"{membership} {self.file} ({len(names):,} names)"


def _format_time(at: float, now: float) -> str:
    try:
        date = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):  # outside the range of datetime
        return f"at {at:g}"
    return f"{date}, {(now - at) / _DAY:,.1f} days ago" if at <= now else f"{date}, in the future"
