"""Rule: how a decision is shown, as text and as JSON, lives here: every rule with its answer and its source. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asyncgg.cleanup.policy import Policy
from asyncgg.cleanup.rules import AllOf, AnyOf, Candidate, Condition, Finding, Known, Named, Negation, examine
from asyncgg.cleanup.select import Decision, decide

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One candidate, what every rule says of it, and what becomes of it."""

    decision: Decision
    rules: tuple[dict[str, Any], ...]
    """The rules as a tree: `rule` or `combine` or `condition`, `answer`, and of a condition `detail` and `source`."""

    def document(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "schema": "asyncgg.explanation/1",
            "core": self.decision.core,
            "thing": self.decision.thing,
            "verdict": self.decision.verdict.value,
            "selected": self.decision.selected,
            "reason": self.decision.reason,
            "rules": list(self.rules),
        }

    def lines(self) -> list[str]:
        """As people read it."""
        decision = self.decision
        head = f"{decision.thing} on {decision.core}: {decision.verdict}, {decision.reason}"
        return [head, *(line for rule in self.rules for line in _lines(rule, 1))]


def explain(policy: Policy, candidate: Candidate, known: Known, now: float) -> Explanation:
    """What becomes of a candidate by what is known, rule by rule; ask first, for nothing is asked here."""
    finding = examine(policy.tree, candidate, known, now)
    rules = tuple(_tree(part, candidate, known, now) for part in finding.parts)
    return Explanation(decide(policy, candidate, known, now), rules)


def _tree(finding: Finding, candidate: Candidate, known: Known, now: float) -> dict[str, Any]:
    node, answer = finding.node, finding.answer.value
    if isinstance(node, Condition):
        return {
            "condition": node.label,
            "answer": answer,
            "detail": node.because(candidate, known, now),
            "source": node.source,
        }
    parts = [_tree(part, candidate, known, now) for part in finding.parts]
    if isinstance(node, Named):
        return {"rule": node.id, "answer": answer, "parts": parts}
    combine = {AllOf: "all", AnyOf: "any", Negation: "not"}[type(node)]
    return {"combine": combine, "answer": answer, "parts": parts}


_TITLES = {"all": "all of", "any": "any of", "not": "not"}


def _lines(part: dict[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    if "condition" in part:
        yield f"{indent}{part['answer']:<8}{part['condition']}: {part['detail']} ({part['source']})"
        return
    title = f"rule {part['rule']}" if "rule" in part else _TITLES[part["combine"]]
    yield f"{indent}{part['answer']:<8}{title}"
    for inner in part["parts"]:
        yield from _lines(inner, depth + 1)
