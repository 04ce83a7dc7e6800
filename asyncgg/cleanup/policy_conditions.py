"""Rule: what a policy writes of each condition is read and checked here: one function a condition. No file is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

from asyncgg.cleanup.policy_faults import At, no_such_key
from asyncgg.cleanup.rules import (
    AssociatedBefore,
    CoreSilentFor,
    CoreStatus,
    IndexQuery,
    Name,
    Node,
    NotIn,
    Pattern,
    ThingAttribute,
    ThingGroup,
    ThingMissing,
    ThingType,
)
from asyncgg.model import invalid_name_reason
from asyncgg.settings import parse_duration

__all__ = ["CONDITIONS"]

T = TypeVar("T")

_NAME_GLOB: Final = re.compile(r"[a-zA-Z0-9:_*?\[\]!-]+\Z")
_ATTRIBUTE: Final = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}\Z")
_ANYTHING: Final = re.compile(r"(?:\*+\??)+|\(?\.[*+]\)?")


def _thing_missing(value: object, at: At) -> Node | None:
    if value is not True:
        at.wrong("can only be true; for things that exist write not = { thing-missing = true }")
        return None
    return ThingMissing()


def _thing_group(value: object, at: At) -> Node | None:
    if not isinstance(value, dict):
        group = _thing_name(value, at, "thing group")
        return None if group is None else ThingGroup(group)
    given = _table(value, at, {"name"}, {"recursive"})
    if given is None:
        return None
    recursive = given.get("recursive", True)
    if not isinstance(recursive, bool):
        at("recursive").wrong("must be true or false")
        return None
    group = _thing_name(given["name"], at("name"), "thing group")
    return None if group is None else ThingGroup(group, recursive)


def _thing_type(value: object, at: At) -> Node | None:
    name = _thing_name(value, at, "thing type")
    return None if name is None else ThingType(name)


def _thing_attribute(value: object, at: At) -> Node | None:
    given = _table(value, at, {"name"}, {"equals", "glob", "exists"})
    if given is None:
        return None
    name = given["name"]
    if not isinstance(name, str) or not _ATTRIBUTE.match(name):
        at("name").wrong(f"{name!r} is no attribute's name")
        return None
    tests = given.keys() - {"name"}
    if len(tests) != 1:
        at.wrong("needs exactly one of equals, glob, exists")
        return None
    if "exists" in given:
        return _typed(
            given["exists"], bool, at("exists"), "must be true or false", lambda v: ThingAttribute(name, exists=v)
        )
    if "equals" in given:
        return _typed(given["equals"], str, at("equals"), "must be text, in quotes", lambda v: ThingAttribute(name, v))
    return _typed(
        given["glob"], str, at("glob"), "must be text, in quotes", lambda v: ThingAttribute(name, glob=Pattern(v))
    )


def _name(value: object, at: At) -> Node | None:
    regex = False
    if isinstance(value, dict):
        given = _table(value, at, set(), {"glob", "regex"})
        if given is None:
            return None
        if len(given) != 1:
            at.wrong("needs exactly one of glob, regex")
            return None
        ((kind, value),) = given.items()
        regex, at = kind == "regex", at(kind)
    if not isinstance(value, str):
        at.wrong(f"{value!r} must be text, in quotes")
        return None
    if _ANYTHING.fullmatch(value):
        at.wrong(f"{value!r} is every name: that would select everything")
        return None
    if not regex and not _NAME_GLOB.match(value):
        at.wrong(f"{value!r} is no glob of names (a-z A-Z 0-9 : _ - and * ? [...]): it could never match")
        return None
    try:
        return Name(Pattern(value, regex))
    except re.error as error:
        at.wrong(f"{value!r} is no regular expression: {error}")
        return None


def _associated_before(value: object, at: At) -> Node | None:
    if isinstance(value, date):  # a datetime is one
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return AssociatedBefore(before=moment.timestamp(), written=value.isoformat())
    seconds = _duration(value, at)
    return None if seconds is None else AssociatedBefore(age=seconds, written=str(value))


def _core_status(value: object, at: At) -> Node | None:
    if not isinstance(value, str) or value not in {"HEALTHY", "UNHEALTHY"}:
        at.wrong(f"{value!r} is none of 'HEALTHY', 'UNHEALTHY'")
        return None
    return CoreStatus(value)


def _core_silent_for(value: object, at: At) -> Node | None:
    seconds = _duration(value, at)
    return None if seconds is None else CoreSilentFor(seconds, str(value))


def _index_query(value: object, at: At) -> Node | None:
    if not isinstance(value, str) or not value.strip():
        at.wrong(f"{value!r} must be a query of fleet indexing, in quotes")
        return None
    if value.strip() == "*":
        at.wrong("'*' is every thing: that would select everything")
        return None
    return IndexQuery(value)


def _not_in(value: object, at: At) -> Node | None:
    allow_empty: object = False
    if isinstance(value, dict):
        given = _table(value, at, {"file"}, {"allow-empty"})
        if given is None:
            return None
        value, allow_empty = given["file"], given.get("allow-empty", False)
        if not isinstance(allow_empty, bool):
            at("allow-empty").wrong("must be true or false")
            return None
        at = at("file")
    if not isinstance(value, str) or not value or "\0" in value:
        at.wrong(f"{value!r} must be a file's path or s3://bucket/key, in quotes")
        return None
    if value.startswith("s3://") and not re.match(r"s3://[^/]+/.*[^/]\Z", value, re.DOTALL):
        at.wrong(f"{value!r} names no object: write s3://bucket/key")
        return None
    return NotIn(value, bool(allow_empty))


CONDITIONS: Final[Mapping[str, Callable[[object, At], Node | None]]] = {
    "thing-missing": _thing_missing,
    "thing-group": _thing_group,
    "thing-type": _thing_type,
    "thing-attribute": _thing_attribute,
    "name": _name,
    "associated-before": _associated_before,
    "core-status": _core_status,
    "core-silent-for": _core_silent_for,
    "index-query": _index_query,
    "not-in": _not_in,
}
"""Each condition by its key: from the value as written to the rule, or to None when it has a fault."""


# --- values ---


def _table(value: object, at: At, needed: set[str], optional: set[str]) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        at.wrong(f"must be a table of {', '.join(sorted(needed | optional))}")
        return None
    known = sorted(needed | optional)
    for key in value.keys() - known:
        at(key).wrong(no_such_key(key, known))
    for key in needed - value.keys():
        at.wrong(f"{key} is missing")
    return value if needed <= value.keys() <= set(known) else None


def _typed(value: object, kind: type[T], at: At, fault: str, make: Callable[[T], Node]) -> Node | None:
    if not isinstance(value, kind):
        at.wrong(f"{value!r} {fault}")
        return None
    return make(value)


def _thing_name(value: object, at: At, what: str) -> str | None:
    """The name of a group or type: they have the alphabet of things [service model: ThingGroupName, ThingTypeName]."""
    if not isinstance(value, str):
        at.wrong(f"{value!r} must be a {what}'s name, in quotes")
        return None
    if fault := invalid_name_reason(value):
        at.wrong(f"{value!r} is no {what}'s name: it {fault}")
        return None
    return value


def _duration(value: object, at: At) -> float | None:
    try:
        return parse_duration(value)
    except ValueError as error:
        at.wrong(f"{value!r} {error}")
        return None
