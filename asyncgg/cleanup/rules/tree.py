"""Rule: how conditions combine into a tree, and what decided, live here; no condition of its own does. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

from asyncgg.cleanup.rules.answer import Answer
from asyncgg.cleanup.rules.base import Candidate, Condition, Known

__all__ = ["AllOf", "AnyOf", "Finding", "Named", "Negation", "Node", "conditions", "deciding", "examine", "reason"]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of them; at least one."""

    rules: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of them at least."""

    rules: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """Definitely not this one: doubt about it does not select."""

    rule: Node


@dataclass(frozen=True, slots=True)
class Named:
    """One `[[rule]]` of a policy, by whose id a selection is explained."""

    id: str
    rule: Node


Node = Condition | AllOf | AnyOf | Negation | Named

_COMBINED = (AllOf, AnyOf)
_WRAPPED = (Negation, Named)


class Finding(NamedTuple):
    """What one node says of one candidate, and what the nodes below it say."""

    node: Node
    answer: Answer
    parts: tuple[Finding, ...] = ()


def examine(node: Node, candidate: Candidate, known: Known, now: float) -> Finding:
    """What the whole tree says; no node is skipped, so that it can be shown whole. `now`: seconds since 1970, UTC."""
    # Conditions come last: to recognize an abstract class is slow, and this runs for every candidate.
    if isinstance(node, _COMBINED):
        parts = tuple([examine(rule, candidate, known, now) for rule in node.rules])
        combine = Answer.all_of if isinstance(node, AllOf) else Answer.any_of
        return Finding(node, combine([part.answer for part in parts]), parts)
    if isinstance(node, _WRAPPED):
        part = examine(node.rule, candidate, known, now)
        return Finding(node, part.answer.negated() if isinstance(node, Negation) else part.answer, (part,))
    return Finding(node, node.answer(candidate, known, now))


def deciding(finding: Finding) -> Iterator[Finding]:
    """The conditions that make the finding what it is: with one of them otherwise, it could be otherwise.

    Of an unknown finding these are the conditions whose answers are missing and would matter.
    """
    if not finding.parts:
        yield finding
        return
    wanted = finding.answer.negated() if isinstance(finding.node, Negation) else finding.answer
    for part in finding.parts:
        if part.answer is wanted:
            yield from deciding(part)


def reason(finding: Finding, candidate: Candidate, known: Known, now: float) -> str:
    """The facts that decided, under the ids of their rules: `orphans: thing-missing; old: not name gateway-*`."""
    groups: list[str] = []
    for identity, part in _by_rule(finding):
        facts = dict.fromkeys(_fact(one, candidate, known, now) for one in deciding(part))
        groups.append(f"{identity}: {', '.join(facts)}" if identity else ", ".join(facts))
    return "; ".join(groups)


def _by_rule(finding: Finding) -> Iterator[tuple[str, Finding]]:
    """The findings of the named rules that decided; the finding itself where none is named."""
    if isinstance(finding.node, Named):
        yield finding.node.id, finding
    elif isinstance(finding.node, AnyOf) and all(isinstance(part.node, Named) for part in finding.parts):
        for part in finding.parts:
            if part.answer is finding.answer:
                yield from _by_rule(part)
    else:
        yield "", finding


def _fact(finding: Finding, candidate: Candidate, known: Known, now: float) -> str:
    condition = cast(Condition, finding.node)  # `deciding` gives nothing else
    if finding.answer is Answer.YES:
        return condition.label
    if finding.answer is Answer.NO:
        return f"not {condition.label}"
    return f"{condition.label} unknown ({condition.because(candidate, known, now)})"


def conditions(node: Node) -> Iterator[Condition]:
    """Every condition of the tree, in its order."""
    if isinstance(node, Condition):
        yield node
    elif isinstance(node, AllOf | AnyOf):
        for rule in node.rules:
            yield from conditions(rule)
    else:
        yield from conditions(node.rule)
