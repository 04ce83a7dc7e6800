"""Expression trees of conditions: evaluation, and the conditions that decided the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

from asyncgg.cleanup.rules.base import Candidate, Condition, Facts, Ternary


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds if every child holds; has at least one child."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds if any child holds; has at least one child."""

    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds only if the child definitely does not."""

    child: Node


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[rule]]` of a policy; its id stands in the reason of each decision."""

    id: str
    child: Node


Node = Condition | AllOf | AnyOf | Not | Rule

_NARY = (AllOf, AnyOf)
_UNARY = (Not, Rule)


class Evaluation(NamedTuple):
    """The result of one node for one candidate, with the results of its children."""

    node: Node
    result: Ternary
    children: tuple[Evaluation, ...] = ()


def evaluate(node: Node, candidate: Candidate, facts: Facts, now: float) -> Evaluation:
    """Evaluate every node, as `--explain` shows the whole tree. `now`: seconds since 1970, UTC."""
    # Conditions come last: isinstance() of an abstract class is slow, and this runs per candidate.
    if isinstance(node, _NARY):
        children = tuple([evaluate(operand, candidate, facts, now) for operand in node.children])
        combine = Ternary.all_of if isinstance(node, AllOf) else Ternary.any_of
        return Evaluation(node, combine([child.result for child in children]), children)
    if isinstance(node, _UNARY):
        child = evaluate(node.child, candidate, facts, now)
        return Evaluation(node, child.result.negated() if isinstance(node, Not) else child.result, (child,))
    return Evaluation(node, node.evaluate(candidate, facts, now))


def deciding_conditions(evaluation: Evaluation) -> Iterator[Evaluation]:
    """The conditions that decide the result: if one of them changed, the result could change.

    For an unknown result, these are the conditions whose lookups are missing and matter.
    """
    if not evaluation.children:
        yield evaluation
        return
    decisive = evaluation.result.negated() if isinstance(evaluation.node, Not) else evaluation.result
    for child in evaluation.children:
        if child.result is decisive:
            yield from deciding_conditions(child)


def format_reason(evaluation: Evaluation, candidate: Candidate, facts: Facts, now: float) -> str:
    """The deciding facts by rule id, like `orphans: thing-missing; old: not name gateway-*`."""
    groups: list[str] = []
    for rule_id, rule_evaluation in _deciding_rules(evaluation):
        statements = dict.fromkeys(
            _format_fact(condition, candidate, facts, now) for condition in deciding_conditions(rule_evaluation)
        )
        groups.append(f"{rule_id}: {', '.join(statements)}" if rule_id else ", ".join(statements))
    return "; ".join(groups)


def _deciding_rules(evaluation: Evaluation) -> Iterator[tuple[str, Evaluation]]:
    """The deciding rules by id; without rules, the evaluation itself."""
    if isinstance(evaluation.node, Rule):
        yield evaluation.node.id, evaluation
    elif isinstance(evaluation.node, AnyOf) and all(isinstance(child.node, Rule) for child in evaluation.children):
        for child in evaluation.children:
            if child.result is evaluation.result:
                yield from _deciding_rules(child)
    else:
        yield "", evaluation


def _format_fact(evaluation: Evaluation, candidate: Candidate, facts: Facts, now: float) -> str:
    condition = cast(Condition, evaluation.node)  # `deciding_conditions` yields conditions only
    if evaluation.result is Ternary.YES:
        return condition.label
    if evaluation.result is Ternary.NO:
        return condition.negated_label
    return f"{condition.label} unknown ({condition.explain(candidate, facts, now)})"


def iter_conditions(node: Node) -> Iterator[Condition]:
    """Every condition of the tree, in order."""
    if isinstance(node, Condition):
        yield node
    elif isinstance(node, AllOf | AnyOf):
        for child in node.children:
            yield from iter_conditions(child)
    else:
        yield from iter_conditions(node.child)
