"""Explanations of decisions as text and JSON: every rule with its result and source."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.rules.base import Candidate, Condition, Facts
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Evaluation, Not, Rule, evaluate
from asyncgg.cleanup.select import Decision, decide_candidate
from asyncgg.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision about one candidate, with the result of every rule."""

    decision: Decision
    rules: tuple[dict[str, Any], ...]
    """Trees of `rule`, `combine` or `condition`, with `answer`; conditions with `detail`, `source`."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "schema": "asyncgg.explanation/1",
            "core": self.decision.core,
            "thing": self.decision.thing,
            "verdict": self.decision.disposition.value,
            "selected": self.decision.selected,
            "reason": self.decision.reason,
            "rules": list(self.rules),
        }

    def lines(self) -> list[str]:
        """The text for people."""
        decision = self.decision
        head = f"{decision.thing} on {decision.core}: {decision.disposition}, {decision.reason}"
        return [head, *(line for rule in self.rules for line in _render(rule, 1))]


class RecordedDecision(NamedTuple):
    """What an earlier run of a policy decided about one association."""

    core: str
    verdict: str
    """A value of `Disposition`."""
    reason: str


def recorded_decisions(snapshot: Path, thing: str) -> list[RecordedDecision]:
    """What the run of `snapshot` decided about `thing`; empty if it kept no readable decisions."""
    try:
        with gzip.open(RunDirectory(snapshot.parent).decisions, "rt", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["thing"] == thing]
        return [RecordedDecision(row["core"], row["verdict"], row["reason"]) for row in rows]
    except (OSError, EOFError, ValueError, KeyError, csv.Error):
        return []


def explain(policy: Policy, candidate: Candidate, facts: Facts, now: float) -> Explanation:
    """Explain the decision about one candidate. `facts` must contain all lookups."""
    evaluation = evaluate(policy.tree, candidate, facts, now)
    rules = tuple(_evaluation_to_dict(child, candidate, facts, now) for child in evaluation.children)
    return Explanation(decide_candidate(policy, candidate, facts, now), rules)


def _evaluation_to_dict(evaluation: Evaluation, candidate: Candidate, facts: Facts, now: float) -> dict[str, Any]:
    node, result = evaluation.node, evaluation.result.value
    if isinstance(node, Condition):
        return {
            "condition": node.label,
            "answer": result,
            "detail": node.explain(candidate, facts, now),
            "source": node.source,
        }
    children = [_evaluation_to_dict(child, candidate, facts, now) for child in evaluation.children]
    if isinstance(node, Rule):
        return {"rule": node.id, "answer": result, "parts": children}
    combine = {AllOf: "all", AnyOf: "any", Not: "not"}[type(node)]
    return {"combine": combine, "answer": result, "parts": children}


_TITLES = {"all": "all of", "any": "any of", "not": "not"}


def _render(part: dict[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    if "condition" in part:
        yield f"{indent}{part['answer']:<8}{part['condition']}: {part['detail']} ({part['source']})"
        return
    title = f"rule {part['rule']}" if "rule" in part else _TITLES[part["combine"]]
    yield f"{indent}{part['answer']:<8}{title}"
    for child in part["parts"]:
        yield from _render(child, depth + 1)
