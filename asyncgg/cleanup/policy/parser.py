"""The parser of a policy's rules: how conditions combine, and one function per condition."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Final

from asyncgg.cleanup.policy.diagnostics import Cursor, Diagnostics, InvalidValueError, unknown_key_message
from asyncgg.cleanup.rules import conditions
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Node, Not, Rule
from asyncgg.formatting import parse_duration
from asyncgg.models import invalid_name_reason

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
        child = {key: value for key, value in table.items() if key != "id"}
        with contextlib.suppress(InvalidValueError):
            rules.append(Rule(rule_id, _parse_conjunction(child, rule_cursor)))
    return tuple(rules)


def _parse_rule_id(table: Mapping[str, Any], number: int, cursor: Cursor) -> str:
    rule_id = table.get("id", f"rule {number + 1}")
    if not isinstance(rule_id, str) or not _RULE_ID.match(rule_id):
        cursor("id").error(f"{rule_id!r} must be 1 to 64 of a-z A-Z 0-9 space . _ - and start with a letter or digit")
        return f"rule {number + 1}"
    return rule_id


# --- combinations ---


def _collect(parsers: Iterable[Callable[[], Node]]) -> tuple[Node, ...]:
    """The results of all calls. Each is made, so that every error is reported, before one is raised."""
    nodes: list[Node] = []
    failure: InvalidValueError | None = None
    for parse in parsers:
        try:
            nodes.append(parse())
        except InvalidValueError as error:
            failure = error
    if failure is not None:
        raise failure
    return tuple(nodes)


def _parse_conjunction(table: object, cursor: Cursor) -> Node:
    if len(cursor.path) > _MAX_DEPTH:
        raise cursor.error("is nested too deeply")
    if not isinstance(table, dict):
        raise cursor.error("must be a table of conditions, like { thing-missing = true }")
    if not table:
        raise cursor.error("has no condition and would select everything")
    nodes = _collect(partial(_parse_entry, key, value, cursor(key)) for key, value in table.items())
    return nodes[0] if len(nodes) == 1 else AllOf(nodes)


def _parse_entry(key: str, value: object, cursor: Cursor) -> Node:
    if key == "not":
        return Not(_parse_conjunction(value, cursor))
    if key in {"any", "all"}:
        return (AnyOf if key == "any" else AllOf)(_parse_list(value, cursor))
    if key in CONDITION_PARSERS:
        return CONDITION_PARSERS[key](value, cursor)
    raise cursor.error(unknown_key_message(key, (*CONDITION_PARSERS, *_COMBINATORS)))


def _parse_list(value: object, cursor: Cursor) -> tuple[Node, ...]:
    if not isinstance(value, list):
        raise cursor.error("must be a list of tables, like [{ thing-missing = true }, { name = 'old-*' }]")
    if not value:
        raise cursor.error("must have at least one table")
    return _collect(partial(_parse_conjunction, table, cursor(number)) for number, table in enumerate(value))


# --- conditions ---


def _parse_thing_missing(value: object, cursor: Cursor) -> Node:
    if value is not True:
        raise cursor.error("must be true; for things that exist, write not = { thing-missing = true }")
    return conditions.ThingMissing()


def _parse_thing_group(value: object, cursor: Cursor) -> Node:
    if not isinstance(value, dict):
        return conditions.ThingGroup(_parse_aws_name(value, cursor, "thing group"))
    table = _parse_table(value, cursor, {"name"}, {"recursive"})
    recursive = _parse_bool(table.get("recursive", True), cursor("recursive"))
    return conditions.ThingGroup(_parse_aws_name(table["name"], cursor("name"), "thing group"), recursive)


def _parse_thing_type(value: object, cursor: Cursor) -> Node:
    return conditions.ThingType(_parse_aws_name(value, cursor, "thing type"))


def _parse_thing_attribute(value: object, cursor: Cursor) -> Node:
    table = _parse_table(value, cursor, {"name"}, {"equals", "glob", "exists"})
    name = table["name"]
    if not isinstance(name, str) or not _ATTRIBUTE_NAME.match(name):
        raise cursor("name").error(f"{name!r} must be the name of an attribute")
    tests = table.keys() - {"name"}
    if len(tests) != 1:
        raise cursor.error("must have exactly one of equals, glob, exists")
    (test,) = tests
    value, cursor = table[test], cursor(test)
    if test == "exists":
        return conditions.ThingAttribute(name, exists=_parse_bool(value, cursor))
    text = _parse_text(value, cursor)
    return (
        conditions.ThingAttribute(name, text)
        if test == "equals"
        else conditions.ThingAttribute(name, glob=conditions.Pattern(text))
    )


def _parse_name(value: object, cursor: Cursor) -> Node:
    regex = False
    if isinstance(value, dict):
        table = _parse_table(value, cursor, set(), {"glob", "regex"})
        if len(table) != 1:
            raise cursor.error("must have exactly one of glob, regex")
        ((kind, value),) = table.items()
        regex, cursor = kind == "regex", cursor(kind)
    text = _parse_text(value, cursor)
    if _MATCHES_EVERYTHING.fullmatch(text):
        raise cursor.error(f"{text!r} would select everything")
    if not regex and not _NAME_GLOB.match(text):
        raise cursor.error(f"{text!r} cannot match a name: write a-z A-Z 0-9 : _ - and * ? [...]")
    try:
        return conditions.ThingName(conditions.Pattern(text, regex))
    except re.error as error:
        raise cursor.error(f"{text!r} must be a regular expression: {error}") from None


def _parse_associated_before(value: object, cursor: Cursor) -> Node:
    if isinstance(value, date):  # a datetime is a date, too
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return conditions.AssociatedBefore(before=moment.timestamp(), text=value.isoformat())
    return conditions.AssociatedBefore(age=_parse_duration(value, cursor), text=str(value))


def _parse_core_status(value: object, cursor: Cursor) -> Node:
    if not isinstance(value, str) or value not in {"HEALTHY", "UNHEALTHY"}:
        raise cursor.error(f"{value!r} must be one of: HEALTHY, UNHEALTHY")
    return conditions.CoreStatus(value)


def _parse_core_offline_for(value: object, cursor: Cursor) -> Node:
    return conditions.CoreOfflineFor(_parse_duration(value, cursor), str(value))


def _parse_index_query(value: object, cursor: Cursor) -> Node:
    if not isinstance(value, str) or not value.strip():
        raise cursor.error(f"{value!r} must be a fleet indexing query, in quotes")
    if value.strip() == "*":
        raise cursor.error("'*' would select everything")
    return conditions.IndexQuery(value)


def _parse_not_in(value: object, cursor: Cursor) -> Node:
    allow_empty = False
    if isinstance(value, dict):
        table = _parse_table(value, cursor, {"file"}, {"allow-empty"})
        allow_empty = _parse_bool(table.get("allow-empty", False), cursor("allow-empty"))
        value, cursor = table["file"], cursor("file")
    if not isinstance(value, str) or not value or "\0" in value:
        raise cursor.error(f"{value!r} must be a file path or s3://bucket/key, in quotes")
    if value.startswith("s3://") and not re.match(r"s3://[^/]+/.*[^/]\Z", value, re.DOTALL):
        raise cursor.error(f"{value!r} must name an object: write s3://bucket/key")
    return conditions.NotIn(value, allow_empty)


CONDITION_PARSERS: Final[Mapping[str, Callable[[object, Cursor], Node]]] = {
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


def _parse_table(value: object, cursor: Cursor, required: set[str], optional: set[str]) -> dict[str, Any]:
    allowed = sorted(required | optional)
    if not isinstance(value, dict):
        raise cursor.error(f"must be a table of {', '.join(allowed)}")
    errors = [cursor(key).error(unknown_key_message(key, allowed)) for key in value.keys() - allowed]
    errors += [cursor.error(f"{key} is missing") for key in required - value.keys()]
    if errors:
        raise errors[0]
    return value


def _parse_bool(value: object, cursor: Cursor) -> bool:
    if not isinstance(value, bool):
        raise cursor.error(f"{value!r} must be true or false")
    return value


def _parse_text(value: object, cursor: Cursor) -> str:
    if not isinstance(value, str):
        raise cursor.error(f"{value!r} must be text, in quotes")
    return value


def _parse_aws_name(value: object, cursor: Cursor, kind: str) -> str:
    """A group or type; both have the pattern of thing names [ThingGroupName, ThingTypeName]."""
    if not isinstance(value, str):
        raise cursor.error(f"{value!r} must be the name of a {kind}, in quotes")
    if problem := invalid_name_reason(value):
        raise cursor.error(f"invalid {kind} name {value!r}: {problem}")
    return value


def _parse_duration(value: object, cursor: Cursor) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise cursor.error(f"{value!r} {error}") from None
