"""The selection of candidates, chunk by chunk, with as few AWS IoT lookups as possible."""

# Lookups are made in the order of their cost: none at first, then sets (once for all candidates),
# then single things. Each step evaluates only candidates that are still undecided.

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.rules.base import Candidate, Facts, SetQuery, Ternary
from asyncgg.cleanup.rules.conditions import SetCondition, ThingCondition
from asyncgg.cleanup.rules.expression import Evaluation, deciding_conditions, evaluate, format_reason


class Disposition(StrEnum):
    """The kinds of decisions."""

    SELECTED = "selected"
    KEPT = "kept"
    """No rule selects the candidate."""
    UNDETERMINED = "undetermined"
    """Kept: the result depends on a lookup that failed."""
    PROTECTED = "protected"
    """Kept: on the protect list."""
    OUTSIDE = "outside"
    """Kept: on a core outside `[sources]`."""


class Decision(NamedTuple):
    """The decision about one candidate."""

    core: str
    thing: str
    disposition: Disposition
    reason: str
    """See `format_reason`."""

    @property
    def selected(self) -> bool:
        """Whether the association will be removed."""
        return self.disposition is Disposition.SELECTED


async def decide_chunks(
    policy: Policy, chunks: Iterable[Sequence[Candidate]], cache: RegistryCache, now: float
) -> AsyncIterator[Decision]:
    """Decide about all candidates in order, holding one chunk. `now`: seconds since 1970, UTC.

    Raises `CredentialsError` if AWS IoT rejects the credentials, and they cannot be renewed.
    """
    for chunk in chunks:
        cache.evict()
        for decision in await _decide_chunk(policy, chunk, cache, now):
            yield decision


def decide_candidate(policy: Policy, candidate: Candidate, facts: Facts, now: float) -> Decision:
    """The decision about one candidate without further lookups. Pure."""
    precluded = _precluded(policy, candidate)
    return precluded or _from_evaluation(candidate, evaluate(policy.tree, candidate, facts, now), facts, now)


async def _decide_chunk(policy: Policy, chunk: Sequence[Candidate], cache: RegistryCache, now: float) -> list[Decision]:
    facts, tree = cache.facts, policy.tree
    decisions: list[Decision | None] = [_precluded(policy, candidate) for candidate in chunk]
    evaluations: dict[int, Evaluation] = {}

    def evaluate_open(indexes: Iterable[int]) -> list[int]:
        """Evaluate these candidates; the indexes of the undecided ones."""
        unresolved = []
        for index in indexes:
            evaluation = evaluations[index] = evaluate(tree, chunk[index], facts, now)
            if evaluation.result is Ternary.UNKNOWN:
                unresolved.append(index)
        return unresolved

    undecided = evaluate_open([index for index, decision in enumerate(decisions) if decision is None])
    while sets := _missing_set_queries([(chunk[index], evaluations[index]) for index in undecided], facts):
        await cache.fetch_sets(sets)
        undecided = evaluate_open(undecided)
    things = [chunk[index].thing for index in undecided if _needs_description(chunk[index], evaluations[index], facts)]
    if things:
        await cache.fetch_things(things)
        evaluate_open(undecided)
    return [
        decision or _from_evaluation(chunk[index], evaluations[index], facts, now)
        for index, decision in enumerate(decisions)
    ]


def _precluded(policy: Policy, candidate: Candidate) -> Decision | None:
    """The decision that needs no rule, if any."""
    core, thing = candidate.core.name, candidate.thing
    if not policy.sources.matches(candidate.core):  # first: these candidates are not examined
        return Decision(core, thing, Disposition.OUTSIDE, f"core {core} is outside [sources]")
    if entry := policy.protect.match(core, thing):
        return Decision(core, thing, Disposition.PROTECTED, f"protected by {entry}")
    return None


_DISPOSITIONS = {
    Ternary.YES: Disposition.SELECTED,
    Ternary.NO: Disposition.KEPT,
    Ternary.UNKNOWN: Disposition.UNDETERMINED,
}


def _from_evaluation(candidate: Candidate, evaluation: Evaluation, facts: Facts, now: float) -> Decision:
    text = format_reason(evaluation, candidate, facts, now)
    return Decision(candidate.core.name, candidate.thing, _DISPOSITIONS[evaluation.result], text)


def _missing_set_queries(unresolved: Iterable[tuple[Candidate, Evaluation]], facts: Facts) -> list[SetQuery]:
    """The sets, not yet looked up, that could decide one of these candidates."""
    queries: dict[SetQuery, None] = {}
    for candidate, evaluation in unresolved:
        for part in deciding_conditions(evaluation):
            if isinstance(part.node, SetCondition) and not part.node.is_resolved(candidate, facts):
                queries[part.node.set_query] = None
    return list(queries)


def _needs_description(candidate: Candidate, evaluation: Evaluation, facts: Facts) -> bool:
    """Whether the thing's description, not yet looked up, could decide."""
    if candidate.thing in facts.things:
        return False
    return any(isinstance(part.node, ThingCondition) for part in deciding_conditions(evaluation))
