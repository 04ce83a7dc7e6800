"""Warnings about policies that are valid but probably not intended."""

from __future__ import annotations

from collections.abc import Iterator

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.policy.toml_lines import KeyPath
from asyncgg.cleanup.rules.base import Condition, ConditionKind, Ternary
from asyncgg.cleanup.rules.conditions import IndexQuery
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Node, Not, Rule

_CONNECTIVITY_WARNING = (
    "selects on connectivity alone: AWS IoT Core does not see client devices that connect to their core's broker, so "
    "healthy devices match; add another condition, like core-offline-for, thing-attribute or not-in"
)
_NEGATED_QUERY_WARNING = (
    "index-query under `not` selects things that are not (yet) in the index; use NOT within the query instead, which "
    "finds indexed things only"
)


def lint_policy(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    """Each warning with the path of its key."""
    for number, rule in enumerate(policy.rules):
        if selects_on_connectivity_only(rule):
            yield ("rule", number), _CONNECTIVITY_WARNING
        if any(isinstance(condition, IndexQuery) for condition in _negated_conditions(rule)):
            yield ("rule", number), _NEGATED_QUERY_WARNING
    guards = policy.guards
    if guards.max_things is None and guards.max_percent is None:
        yield ("guards",), "neither max-things nor max-percent is set: a run can remove any number of things"


def selects_on_connectivity_only(rule: Node) -> bool:
    """Whether the rule can select a thing just because it is not connected to AWS IoT Core."""
    # Conditions of scope get the result that favours the selection, conditions of evidence UNKNOWN.
    with_connectivity = _best_case(rule, {ConditionKind.SCOPE, ConditionKind.CONNECTIVITY}, desired=True)
    without_connectivity = _best_case(rule, {ConditionKind.SCOPE}, desired=True)
    return with_connectivity is Ternary.YES and without_connectivity is not Ternary.YES


def _best_case(node: Node, answered_kinds: set[ConditionKind], *, desired: bool) -> Ternary:
    """The result if conditions of these kinds are as desired, and all others are unknown."""
    if isinstance(node, Condition):
        if node.kind not in answered_kinds:
            return Ternary.UNKNOWN
        return Ternary.YES if desired else Ternary.NO
    if isinstance(node, Not):
        return _best_case(node.child, answered_kinds, desired=not desired).negated()
    if isinstance(node, Rule):
        return _best_case(node.child, answered_kinds, desired=desired)
    combine = Ternary.all_of if isinstance(node, AllOf) else Ternary.any_of
    return combine([_best_case(child, answered_kinds, desired=desired) for child in node.children])


def _negated_conditions(node: Node, *, is_negated: bool = False) -> Iterator[Condition]:
    """The conditions that select when they are NO."""
    if isinstance(node, Condition):
        if is_negated:
            yield node
    elif isinstance(node, Not):
        yield from _negated_conditions(node.child, is_negated=not is_negated)
    elif isinstance(node, AllOf | AnyOf):
        for child in node.children:
            yield from _negated_conditions(child, is_negated=is_negated)
    else:
        yield from _negated_conditions(node.child, is_negated=is_negated)
