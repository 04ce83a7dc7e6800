"""Rule: what is allowed in a policy and yet seldom meant is found here, by looking at its rules alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.policy.toml_lines import KeyPath
from asyncgg.cleanup.rules import AllOf, AnyOf, Condition, ConditionKind, IndexQuery, Node, Not, Rule, Ternary

__all__ = ["lint_policy", "selects_on_connectivity_only"]

_CONNECTIVITY_WARNING = (
    "connectivity is the only ground: AWS IoT Core does not see client devices that talk to their core's broker, so "
    "healthy ones look dead; add another, like core-offline-for, thing-attribute or not-in"
)
_NEGATED_QUERY_WARNING = (
    "under `not`, a thing that the index does not know (yet) is selected; put NOT into the query instead, which finds "
    "only what the index knows"
)


def lint_policy(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    """Each doubt about the policy, with the key it is about."""
    for number, rule in enumerate(policy.rules):
        if selects_on_connectivity_only(rule):
            yield ("rule", number), _CONNECTIVITY_WARNING
        if any(isinstance(condition, IndexQuery) for condition in _negated_conditions(rule)):
            yield ("rule", number), _NEGATED_QUERY_WARNING
    guards = policy.guards
    if guards.max_things is None and guards.max_percent is None:
        yield ("guards",), "neither max-things nor max-percent is set: nothing bounds how much may go"


def selects_on_connectivity_only(rule: Node) -> bool:
    """Whether the rule can select a thing of which nothing is known but that it is not connected to AWS IoT Core.

    Tried out: conditions of scope answer as would suit the selection, evidence answers nothing.
    """
    with_connectivity = _best_case(rule, {ConditionKind.SCOPE, ConditionKind.CONNECTIVITY}, desired=True)
    without_connectivity = _best_case(rule, {ConditionKind.SCOPE}, desired=True)
    return with_connectivity is Ternary.YES and without_connectivity is not Ternary.YES


def _best_case(node: Node, answered_kinds: set[ConditionKind], *, desired: bool) -> Ternary:
    """The answer when conditions on these grounds say what suits, and all others are unknown."""
    if isinstance(node, Condition):
        if node.kind not in answered_kinds:
            return Ternary.UNKNOWN
        return Ternary.YES if desired else Ternary.NO
    if isinstance(node, Not):
        return _best_case(node.child, answered_kinds, desired=not desired).negated()
    if isinstance(node, Rule):
        return _best_case(node.child, answered_kinds, desired=desired)
    combine = Ternary.all_of if isinstance(node, AllOf) else Ternary.any_of
    return combine([_best_case(rule, answered_kinds, desired=desired) for rule in node.children])


def _negated_conditions(node: Node, *, is_negated: bool = False) -> Iterator[Condition]:
    """The conditions whose NO helps to select."""
    if isinstance(node, Condition):
        if is_negated:
            yield node
    elif isinstance(node, Not):
        yield from _negated_conditions(node.child, is_negated=not is_negated)
    elif isinstance(node, AllOf | AnyOf):
        for rule in node.children:
            yield from _negated_conditions(rule, is_negated=is_negated)
    else:
        yield from _negated_conditions(node.child, is_negated=is_negated)
