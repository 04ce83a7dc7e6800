"""The parser of a policy's rules: how conditions combine, and one function per condition."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

from asyncgg.cleanup.policy.diagnostics import Cursor, Diagnostics, unknown_key_message
from asyncgg.cleanup.rules.conditions import (
    AssociatedBefore,
    CoreOfflineFor,
    CoreStatus,
    IndexQuery,
    NotIn,
    Pattern,
    ThingAttribute,
    ThingGroup,
    ThingMissing,
    ThingName,
    ThingType,
)
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Node, Not, Rule
from asyncgg.formatting import parse_duration
from asyncgg.models import invalid_name_reason

T = TypeVar("T")

_MAX_DEPTH: Final = 60
"""Keys and list indexes from the top; more would come near Python's recursion limit."""
_COMBINATORS: Final = ("any", "all", "not")
_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\Z")
_NAME_GLOB: Final = re.compile(r"[a-zA-Z0-9:_*?\[\]!-]+\Z")
_ATTRIBUTE_NAME: Final = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}\Z")
_MATCHES_EVERYTHING: Final = re.compile(r"(?:\*+\??)+|\(?\.[*+]\)?")


def parse_rules(tables: object, diagnostics: Diagnostics) -> tuple[Rule, ...]:
    """The rules of `[[rule]]`; they are valid only if no error is added to `diagnostics`."""
    cursor = Cursor(("rule",), diagnostics)
    if tables is None:
        diagnostics.add_error((), "no [[rule]]: a policy must have at least one rule")
        return ()
    if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
        cursor.error("must be written [[rule]], once per rule")
        return ()
    if not tables:
        cursor.error("must have at least one rule")
    rules: list[Rule] = []
    rule_ids: set[str] = set()
    for number, table in enumerate(tables):
        rule_cursor = cursor(number)
        rule_id = _parse_rule_id(table, number, rule_cursor)
        if rule_id in rule_ids:
            rule_cursor("id").error(f"{rule_id!r} is already the id of another rule")
        rule_ids.add(rule_id)
        node = _parse_conjunction({key: value for key, value in table.items() if key != "id"}, rule_cursor)
        if node is not None:
            rules.append(Rule(rule_id, node))
    return tuple(rules)


def _parse_rule_id(table: Mapping[str, Any], number: int, cursor: Cursor) -> str:
    rule_id = table.get("id", f"rule {number + 1}")
    if not isinstance(rule_id, str) or not _RULE_ID.match(rule_id):
        cursor("id").error(f"{rule_id!r} must be 1 to 64 of a-z A-Z 0-9 space . _ - and start with a letter or digit")
        return f"rule {number + 1}"
    return rule_id


# --- combinations ---


def _parse_conjunction(table: object, cursor: Cursor) -> Node | None:
    if len(cursor.path) > _MAX_DEPTH:
        cursor.error("is nested too deeply")
        return None
    if not isinstance(table, dict):
        cursor.error("must be a table of conditions, like { thing-missing = true }")
        return None
    if not table:
        cursor.error("has no condition and would select everything")
        return None
    nodes = [_parse_entry(key, value, cursor(key)) for key, value in table.items()]
    valid = tuple(node for node in nodes if node is not None)
    if len(valid) < len(nodes):
        return None
    return valid[0] if len(valid) == 1 else AllOf(valid)


def _parse_entry(key: str, value: object, cursor: Cursor) -> Node | None:
    if key == "not":
        inner = _parse_conjunction(value, cursor)
        return None if inner is None else Not(inner)
    if key in {"any", "all"}:
        return _parse_list(value, cursor, AnyOf if key == "any" else AllOf)
    if key in CONDITION_PARSERS:
        return CONDITION_PARSERS[key](value, cursor)
    cursor.error(unknown_key_message(key, (*CONDITION_PARSERS, *_COMBINATORS)))
    return None


def _parse_list(value: object, cursor: Cursor, kind: Callable[[tuple[Node, ...]], Node]) -> Node | None:
    if not isinstance(value, list):
        cursor.error("must be a list of tables, like [{ thing-missing = true }, { name = 'old-*' }]")
        return None
    if not value:
        cursor.error("must have at least one table")
        return None
    nodes = [_parse_conjunction(table, cursor(number)) for number, table in enumerate(value)]
    valid = tuple(node for node in nodes if node is not None)
    return kind(valid) if len(valid) == len(nodes) else None


# --- conditions: each returns None after adding an error ---


def _parse_thing_missing(value: object, cursor: Cursor) -> Node | None:
    if value is not True:
        cursor.error("must be true; for things that exist, write not = { thing-missing = true }")
        return None
    return ThingMissing()


def _parse_thing_group(value: object, cursor: Cursor) -> Node | None:
    if not isinstance(value, dict):
        group = _parse_aws_name(value, cursor, "thing group")
        return None if group is None else ThingGroup(group)
    table = _parse_table(value, cursor, {"name"}, {"recursive"})
    if table is None:
        return None
    recursive = table.get("recursive", True)
    if not isinstance(recursive, bool):
        cursor("recursive").error("must be true or false")
        return None
    group = _parse_aws_name(table["name"], cursor("name"), "thing group")
    return None if group is None else ThingGroup(group, recursive)


def _parse_thing_type(value: object, cursor: Cursor) -> Node | None:
    name = _parse_aws_name(value, cursor, "thing type")
    return None if name is None else ThingType(name)


def _parse_thing_attribute(value: object, cursor: Cursor) -> Node | None:
    table = _parse_table(value, cursor, {"name"}, {"equals", "glob", "exists"})
    if table is None:
        return None
    name = table["name"]
    if not isinstance(name, str) or not _ATTRIBUTE_NAME.match(name):
        cursor("name").error(f"{name!r} must be the name of an attribute")
        return None
    tests = table.keys() - {"name"}
    if len(tests) != 1:
        cursor.error("must have exactly one of equals, glob, exists")
        return None
    (test,) = tests
    value, cursor = table[test], cursor(test)
    if test == "exists":
        return _parse_typed(
            value, bool, cursor, "must be true or false", lambda exists: ThingAttribute(name, exists=exists)
        )
    if test == "equals":
        return _parse_typed(value, str, cursor, "must be text, in quotes", lambda text: ThingAttribute(name, text))
    return _parse_typed(
        value, str, cursor, "must be text, in quotes", lambda glob: ThingAttribute(name, glob=Pattern(glob))
    )


def _parse_name(value: object, cursor: Cursor) -> Node | None:
    regex = False
    if isinstance(value, dict):
        table = _parse_table(value, cursor, set(), {"glob", "regex"})
        if table is None:
            return None
        if len(table) != 1:
            cursor.error("must have exactly one of glob, regex")
            return None
        ((kind, value),) = table.items()
        regex, cursor = kind == "regex", cursor(kind)
    if not isinstance(value, str):
        cursor.error(f"{value!r} must be text, in quotes")
        return None
    if _MATCHES_EVERYTHING.fullmatch(value):
        cursor.error(f"{value!r} would select everything")
        return None
    if not regex and not _NAME_GLOB.match(value):
        cursor.error(f"{value!r} cannot match a name: write a-z A-Z 0-9 : _ - and * ? [...]")
        return None
    try:
        return ThingName(Pattern(value, regex))
    except re.error as error:
        cursor.error(f"{value!r} must be a regular expression: {error}")
        return None


def _parse_associated_before(value: object, cursor: Cursor) -> Node | None:
    if isinstance(value, date):  # a datetime is a date, too
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return AssociatedBefore(before=moment.timestamp(), text=value.isoformat())
    seconds = _parse_duration(value, cursor)
    return None if seconds is None else AssociatedBefore(age=seconds, text=str(value))


def _parse_core_status(value: object, cursor: Cursor) -> Node | None:
    if not isinstance(value, str) or value not in {"HEALTHY", "UNHEALTHY"}:
        cursor.error(f"{value!r} must be one of: HEALTHY, UNHEALTHY")
        return None
    return CoreStatus(value)


def _parse_core_offline_for(value: object, cursor: Cursor) -> Node | None:
    seconds = _parse_duration(value, cursor)
    return None if seconds is None else CoreOfflineFor(seconds, str(value))


def _parse_index_query(value: object, cursor: Cursor) -> Node | None:
    if not isinstance(value, str) or not value.strip():
        cursor.error(f"{value!r} must be a fleet indexing query, in quotes")
        return None
    if value.strip() == "*":
        cursor.error("'*' would select everything")
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
        cursor.error(f"{value!r} must be a file path or s3://bucket/key, in quotes")
        return None
    if value.startswith("s3://") and not re.match(r"s3://[^/]+/.*[^/]\Z", value, re.DOTALL):
        cursor.error(f"{value!r} must name an object: write s3://bucket/key")
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
"""The parser of each condition, by its key."""


# --- values ---


def _parse_table(value: object, cursor: Cursor, required: set[str], optional: set[str]) -> dict[str, Any] | None:
    allowed = sorted(required | optional)
    if not isinstance(value, dict):
        cursor.error(f"must be a table of {', '.join(allowed)}")
        return None
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


def _parse_aws_name(value: object, cursor: Cursor, kind: str) -> str | None:
    """A group or type; both have the pattern of thing names [ThingGroupName, ThingTypeName]."""
    if not isinstance(value, str):
        cursor.error(f"{value!r} must be the name of a {kind}, in quotes")
        return None
    if problem := invalid_name_reason(value):
        cursor.error(f"invalid {kind} name {value!r}: {problem}")
        return None
    return value


def _parse_duration(value: object, cursor: Cursor) -> float | None:
    try:
        return parse_duration(value)
    except ValueError as error:
        cursor.error(f"{value!r} {error}")
        return None
