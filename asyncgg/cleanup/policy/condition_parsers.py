"""Rule: what a policy writes of each condition is read and checked here: one function a condition. No file is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

from asyncgg.cleanup.policy.diagnostics import Cursor, unknown_key_message
from asyncgg.cleanup.rules import (
    AssociatedBefore,
    CoreOfflineFor,
    CoreStatus,
    IndexQuery,
    Node,
    NotIn,
    Pattern,
    ThingAttribute,
    ThingGroup,
    ThingMissing,
    ThingName,
    ThingType,
)
from asyncgg.models import invalid_name_reason
from asyncgg.settings import parse_duration

__all__ = ["CONDITION_PARSERS"]

T = TypeVar("T")

_NAME_GLOB: Final = re.compile(r"[a-zA-Z0-9:_*?\[\]!-]+\Z")
_ATTRIBUTE_NAME: Final = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}\Z")
_MATCHES_EVERYTHING: Final = re.compile(r"(?:\*+\??)+|\(?\.[*+]\)?")


def _parse_thing_missing(value: object, cursor: Cursor) -> Node | None:
    if value is not True:
        cursor.error("can only be true; for things that exist write not = { thing-missing = true }")
        return None
    return ThingMissing()


def _parse_thing_group(value: object, cursor: Cursor) -> Node | None:
    if not isinstance(value, dict):
        group = _parse_thing_name(value, cursor, "thing group")
        return None if group is None else ThingGroup(group)
    table = _parse_table(value, cursor, {"name"}, {"recursive"})
    if table is None:
        return None
    recursive = table.get("recursive", True)
    if not isinstance(recursive, bool):
        cursor("recursive").error("must be true or false")
        return None
    group = _parse_thing_name(table["name"], cursor("name"), "thing group")
    return None if group is None else ThingGroup(group, recursive)


def _parse_thing_type(value: object, cursor: Cursor) -> Node | None:
    name = _parse_thing_name(value, cursor, "thing type")
    return None if name is None else ThingType(name)


def _parse_thing_attribute(value: object, cursor: Cursor) -> Node | None:
    table = _parse_table(value, cursor, {"name"}, {"equals", "glob", "exists"})
    if table is None:
        return None
    name = table["name"]
    if not isinstance(name, str) or not _ATTRIBUTE_NAME.match(name):
        cursor("name").error(f"{name!r} is no attribute's name")
        return None
    tests = table.keys() - {"name"}
    if len(tests) != 1:
        cursor.error("needs exactly one of equals, glob, exists")
        return None
    if "exists" in table:
        return _parse_typed(
            table["exists"], bool, cursor("exists"), "must be true or false", lambda v: ThingAttribute(name, exists=v)
        )
    if "equals" in table:
        return _parse_typed(
            table["equals"], str, cursor("equals"), "must be text, in quotes", lambda v: ThingAttribute(name, v)
        )
    return _parse_typed(
        table["glob"], str, cursor("glob"), "must be text, in quotes", lambda v: ThingAttribute(name, glob=Pattern(v))
    )


def _parse_name(value: object, cursor: Cursor) -> Node | None:
    regex = False
    if isinstance(value, dict):
        table = _parse_table(value, cursor, set(), {"glob", "regex"})
        if table is None:
            return None
        if len(table) != 1:
            cursor.error("needs exactly one of glob, regex")
            return None
        ((kind, value),) = table.items()
        regex, cursor = kind == "regex", cursor(kind)
    if not isinstance(value, str):
        cursor.error(f"{value!r} must be text, in quotes")
        return None
    if _MATCHES_EVERYTHING.fullmatch(value):
        cursor.error(f"{value!r} is every name: that would select everything")
        return None
    if not regex and not _NAME_GLOB.match(value):
        cursor.error(f"{value!r} is no glob of names (a-z A-Z 0-9 : _ - and * ? [...]): it could never match")
        return None
    try:
        return ThingName(Pattern(value, regex))
    except re.error as error:
        cursor.error(f"{value!r} is no regular expression: {error}")
        return None


def _parse_associated_before(value: object, cursor: Cursor) -> Node | None:
    if isinstance(value, date):  # a datetime is one
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return AssociatedBefore(before=moment.timestamp(), text=value.isoformat())
    seconds = _parse_duration(value, cursor)
    return None if seconds is None else AssociatedBefore(age=seconds, text=str(value))


def _parse_core_status(value: object, cursor: Cursor) -> Node | None:
    if not isinstance(value, str) or value not in {"HEALTHY", "UNHEALTHY"}:
        cursor.error(f"{value!r} is none of 'HEALTHY', 'UNHEALTHY'")
        return None
    return CoreStatus(value)


def _parse_core_offline_for(value: object, cursor: Cursor) -> Node | None:
    seconds = _parse_duration(value, cursor)
    return None if seconds is None else CoreOfflineFor(seconds, str(value))


def _parse_index_query(value: object, cursor: Cursor) -> Node | None:
    if not isinstance(value, str) or not value.strip():
        cursor.error(f"{value!r} must be a query of fleet indexing, in quotes")
        return None
    if value.strip() == "*":
        cursor.error("'*' is every thing: that would select everything")
        return None
    return IndexQuery(value)


def _parse_not_in(value: object, cursor: Cursor) -> Node | None:
    allow_empty: object = False
    if isinstance(value, dict):
        table = _parse_table(value, cursor, {"file"}, {"allow-empty"})
        if table is None:
            return None
        value, allow_empty = table["file"], table.get("allow-empty", False)
        if not isinstance(allow_empty, bool):
            cursor("allow-empty").error("must be true or false")
            return None
        cursor = cursor("file")
    if not isinstance(value, str) or not value or "\0" in value:
        cursor.error(f"{value!r} must be a file's path or s3://bucket/key, in quotes")
        return None
    if value.startswith("s3://") and not re.match(r"s3://[^/]+/.*[^/]\Z", value, re.DOTALL):
        cursor.error(f"{value!r} names no object: write s3://bucket/key")
        return None
    return NotIn(value, bool(allow_empty))


CONDITION_PARSERS: Final[Mapping[str, Callable[[object, Cursor], Node | None]]] = {
    "thing-missing": _parse_thing_missing,
    "thing-group": _parse_thing_group,
    "thing-type": _parse_thing_type,
    "thing-attribute": _parse_thing_attribute,
    "name": _parse_name,
    "associated-before": _parse_associated_before,
    "core-status": _parse_core_status,
    "core-offline-for": _parse_core_offline_for,
    "index-query": _parse_index_query,
    "not-in": _parse_not_in,
}
"""Each condition by its key: from the value as written to the rule, or to None when it has a fault."""


# --- values ---


def _parse_table(value: object, cursor: Cursor, required: set[str], optional: set[str]) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        cursor.error(f"must be a table of {', '.join(sorted(required | optional))}")
        return None
    allowed = sorted(required | optional)
    for key in value.keys() - allowed:
        cursor(key).error(unknown_key_message(key, allowed))
    for key in required - value.keys():
        cursor.error(f"{key} is missing")
    return value if required <= value.keys() <= set(allowed) else None


def _parse_typed(
    value: object, kind: type[T], cursor: Cursor, requirement: str, make: Callable[[T], Node]
) -> Node | None:
    if not isinstance(value, kind):
        cursor.error(f"{value!r} {requirement}")
        return None
    return make(value)


def _parse_thing_name(value: object, cursor: Cursor, kind: str) -> str | None:
    """The name of a group or type: they have the alphabet of things [service model: ThingGroupName, ThingTypeName]."""
    if not isinstance(value, str):
        cursor.error(f"{value!r} must be a {kind}'s name, in quotes")
        return None
    if problem := invalid_name_reason(value):
        cursor.error(f"{value!r} is no {kind}'s name: it {problem}")
        return None
    return value


def _parse_duration(value: object, cursor: Cursor) -> float | None:
    try:
        return parse_duration(value)
    except ValueError as error:
        cursor.error(f"{value!r} {error}")
        return None
