"""Rule: the rules of a policy are made from its tables here: how they combine; each condition is `policy_conditions`.

A table of conditions means all of them; `any`, `all` and `not` combine further tables, to any depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from asyncgg.cleanup.policy_conditions import CONDITIONS
from asyncgg.cleanup.policy_faults import At, Faults, no_such_key
from asyncgg.cleanup.rules import AllOf, AnyOf, Named, Negation, Node

__all__ = ["read_rules"]

_DEEPEST: Final = 60
"""Keys and places in lists from the top: deeper than any person nests, far from where Python's stack ends."""
_COMBINING: Final = ("any", "all", "not")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\Z")


def read_rules(tables: object, faults: Faults) -> tuple[Named, ...]:
    """The rules of `[[rule]]`; what is wrong with them goes to `faults`, and the rules are of use only without any."""
    at = At(("rule",), faults)
    if tables is None:
        faults.add((), "there is no [[rule]]: without one, nothing says what may go")
        return ()
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        at.wrong("must be written [[rule]], one for each rule")
        return ()
    if not tables:
        at.wrong("is empty: without a rule, nothing says what may go")
    rules: list[Named] = []
    seen: set[str] = set()
    for number, table in enumerate(tables):
        here = at(number)
        identity = _identity(table, number, here)
        if identity in seen:
            here("id").wrong(f"{identity!r} is another rule's id already")
        seen.add(identity)
        node = _all_of_table({key: value for key, value in table.items() if key != "id"}, here)
        if node is not None:
            rules.append(Named(identity, node))
    return tuple(rules)


def _identity(table: Mapping[str, Any], number: int, at: At) -> str:
    identity = table.get("id", f"rule {number + 1}")
    if not isinstance(identity, str) or not _ID.match(identity):
        at("id").wrong(f"{identity!r} must be 1 to 64 of a-z A-Z 0-9 blank . _ -: it stands in every outcome's reason")
        return f"rule {number + 1}"
    return identity


# --- combinations ---


def _all_of_table(table: object, at: At) -> Node | None:
    """A table of conditions: all of them."""
    if len(at.path) > _DEEPEST:
        at.wrong("is nested too deeply")
        return None
    if not isinstance(table, dict):
        at.wrong("must be a table of conditions, like { thing-missing = true }")
        return None
    if not table:
        at.wrong("has no condition: it would select everything")
        return None
    nodes = [_keyed(key, value, at(key)) for key, value in table.items()]
    good = tuple(node for node in nodes if node is not None)
    if len(good) < len(nodes):
        return None
    return good[0] if len(good) == 1 else AllOf(good)


def _keyed(key: str, value: object, at: At) -> Node | None:
    if key == "not":
        inner = _all_of_table(value, at)
        return None if inner is None else Negation(inner)
    if key in {"any", "all"}:
        return _list(value, at, AnyOf if key == "any" else AllOf)
    if key in CONDITIONS:
        return CONDITIONS[key](value, at)
    at.wrong(no_such_key(key, (*CONDITIONS, *_COMBINING)))
    return None


def _list(value: object, at: At, kind: Callable[[tuple[Node, ...]], Node]) -> Node | None:
    if not isinstance(value, list):
        at.wrong("must be a list of tables, like [{ thing-missing = true }, { name = 'old-*' }]")
        return None
    if not value:
        at.wrong("is empty: it would mean everything, or nothing")
        return None
    nodes = [_all_of_table(one, at(number)) for number, one in enumerate(value)]
    good = tuple(node for node in nodes if node is not None)
    return kind(good) if len(good) == len(nodes) else None
