"""Rule: what is allowed in a policy and yet seldom meant is found here, by looking at its rules alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from asyncgg.cleanup.policy import Policy
from asyncgg.cleanup.policy_lines import KeyPath
from asyncgg.cleanup.rules import AllOf, Answer, AnyOf, Condition, Ground, IndexQuery, Named, Negation, Node

__all__ = ["doubts", "rests_on_connectivity"]

_CONNECTIVITY = (
    "connectivity is the only ground: AWS IoT Core does not see client devices that talk to their core's broker, so "
    "healthy ones look dead; add another, like core-silent-for, thing-attribute or not-in"
)
_NEGATED = (
    "under `not`, a thing that the index does not know (yet) is selected; put NOT into the query instead, which finds "
    "only what the index knows"
)


def doubts(policy: Policy) -> Iterator[tuple[KeyPath, str]]:
    """Each doubt about the policy, with the key it is about."""
    for number, rule in enumerate(policy.rules):
        if rests_on_connectivity(rule):
            yield ("rule", number), _CONNECTIVITY
        if any(isinstance(one, IndexQuery) for one in _negated(rule)):
            yield ("rule", number), _NEGATED
    guards = policy.guards
    if guards.max_things is None and guards.max_percent is None:
        yield ("guards",), "neither max-things nor max-percent is set: nothing bounds how much may go"


def rests_on_connectivity(rule: Node) -> bool:
    """Whether the rule can select a thing of which nothing is known but that it is not connected to AWS IoT Core.

    Tried out: conditions of scope answer as would suit the selection, evidence answers nothing.
    """
    with_it = _at_best(rule, {Ground.SCOPE, Ground.CONNECTIVITY}, wanted=True)
    without = _at_best(rule, {Ground.SCOPE}, wanted=True)
    return with_it is Answer.YES and without is not Answer.YES


def _at_best(node: Node, answering: set[Ground], *, wanted: bool) -> Answer:
    """The answer when conditions on these grounds say what suits, and all others are unknown."""
    if isinstance(node, Condition):
        if node.grounds not in answering:
            return Answer.UNKNOWN
        return Answer.YES if wanted else Answer.NO
    if isinstance(node, Negation):
        return _at_best(node.rule, answering, wanted=not wanted).negated()
    if isinstance(node, Named):
        return _at_best(node.rule, answering, wanted=wanted)
    combine = Answer.all_of if isinstance(node, AllOf) else Answer.any_of
    return combine([_at_best(rule, answering, wanted=wanted) for rule in node.rules])


def _negated(node: Node, *, under: bool = False) -> Iterator[Condition]:
    """The conditions whose NO helps to select."""
    if isinstance(node, Condition):
        if under:
            yield node
    elif isinstance(node, Negation):
        yield from _negated(node.rule, under=not under)
    elif isinstance(node, AllOf | AnyOf):
        for rule in node.rules:
            yield from _negated(rule, under=under)
    else:
        yield from _negated(node.rule, under=under)
