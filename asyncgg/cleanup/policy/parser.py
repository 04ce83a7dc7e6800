"""Rule: the rules of a policy are made from its tables here: how they combine; each condition is `policy_conditions`.

A table of conditions means all of them; `any`, `all` and `not` combine further tables, to any depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncgg.cleanup.policy.condition_parsers import CONDITION_PARSERS
from asyncgg.cleanup.policy.diagnostics import Cursor, Diagnostics, unknown_key_message
from asyncgg.cleanup.rules import AllOf, AnyOf, Node, Not, Rule

__all__ = ["parse_rules"]

_MAX_DEPTH: Final = 60
"""Keys and places in lists from the top: deeper than any person nests, far from where Python's stack ends."""
_COMBINATORS: Final = ("any", "all", "not")
_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\Z")


def parse_rules(tables: object, diagnostics: Diagnostics) -> tuple[Rule, ...]:
    """The rules of `[[rule]]`; what is wrong with them goes to `faults`, and the rules are of use only without any."""
    cursor = Cursor(("rule",), diagnostics)
    if tables is None:
        diagnostics.add_error((), "there is no [[rule]]: without one, nothing says what may go")
        return ()
    if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
        cursor.error("must be written [[rule]], one for each rule")
        return ()
    if not tables:
        cursor.error("is empty: without a rule, nothing says what may go")
    rules: list[Rule] = []
    rule_ids: set[str] = set()
    for number, table in enumerate(tables):
        rule_cursor = cursor(number)
        rule_id = _parse_rule_id(table, number, rule_cursor)
        if rule_id in rule_ids:
            rule_cursor("id").error(f"{rule_id!r} is another rule's id already")
        rule_ids.add(rule_id)
        node = _parse_conjunction({key: value for key, value in table.items() if key != "id"}, rule_cursor)
        if node is not None:
            rules.append(Rule(rule_id, node))
    return tuple(rules)


def _parse_rule_id(table: Mapping[str, Any], number: int, cursor: Cursor) -> str:
    rule_id = table.get("id", f"rule {number + 1}")
    if not isinstance(rule_id, str) or not _RULE_ID.match(rule_id):
        cursor("id").error(
            f"{rule_id!r} must be 1 to 64 of a-z A-Z 0-9 blank . _ -: it stands in every outcome's reason"
        )
        return f"rule {number + 1}"
    return rule_id


# --- combinations ---


def _parse_conjunction(table: object, cursor: Cursor) -> Node | None:
    """A table of conditions: all of them."""
    if len(cursor.path) > _MAX_DEPTH:
        cursor.error("is nested too deeply")
        return None
    if not isinstance(table, dict):
        cursor.error("must be a table of conditions, like { thing-missing = true }")
        return None
    if not table:
        cursor.error("has no condition: it would select everything")
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
        cursor.error("is empty: it would mean everything, or nothing")
        return None
    nodes = [_parse_conjunction(table, cursor(number)) for number, table in enumerate(value)]
    valid = tuple(node for node in nodes if node is not None)
    return kind(valid) if len(valid) == len(nodes) else None
