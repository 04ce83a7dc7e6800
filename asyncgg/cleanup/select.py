"""Rule: which candidates go is decided here, chunk by chunk, asking AWS IoT only for what is still open.

Questions come in the order of their cost: none at first, then sets (one for all candidates), then one for each thing.
After each step the whole tree is asked again; who has a definite answer then takes no part in the next.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.rules import (
    Candidate,
    Evaluation,
    Facts,
    SetQuery,
    Ternary,
    deciding_conditions,
    evaluate,
    format_reason,
)
from asyncgg.cleanup.rules.registry_conditions import SetCondition, ThingCondition

__all__ = ["Decision", "Disposition", "decide_candidate", "decide_chunks"]


class Disposition(StrEnum):
    """What becomes of one candidate."""

    SELECTED = "selected"
    KEPT = "kept"
    """No rule selects it."""
    UNDETERMINED = "undetermined"
    """It might be selected if an answer were known; kept."""
    PROTECTED = "protected"
    """Kept whatever the rules say."""
    OUTSIDE = "outside"
    """On a core that `[sources]` leaves out; kept."""


class Decision(NamedTuple):
    """What becomes of one candidate, and why."""

    core: str
    thing: str
    disposition: Disposition
    reason: str
    """The facts that decided, under the ids of their rules."""

    @property
    def selected(self) -> bool:
        """Whether it goes."""
        return self.disposition is Disposition.SELECTED


async def decide_chunks(
    policy: Policy,
    candidates: Iterable[Sequence[Candidate]] | AsyncIterable[Sequence[Candidate]],
    cache: RegistryCache,
    now: float,
) -> AsyncIterator[Decision]:
    """Decide about every candidate, in their order; one chunk at a time is held. `now`: seconds since 1970, UTC.

    Raises:
        CredentialsError: AWS IoT does not accept the credentials, and there are no others.
    """
    async for chunk in _aiter_chunks(candidates):
        cache.evict()
        for decision in await _decide_chunk(policy, chunk, cache, now):
            yield decision


def decide_candidate(policy: Policy, candidate: Candidate, facts: Facts, now: float) -> Decision:
    """What becomes of one candidate by what is known. Pure."""
    precluded = _precluded(policy, candidate)
    return precluded or _from_evaluation(candidate, evaluate(policy.tree, candidate, facts, now), facts, now)


async def _decide_chunk(policy: Policy, chunk: Sequence[Candidate], cache: RegistryCache, now: float) -> list[Decision]:
    facts, tree = cache.facts, policy.tree
    decisions: list[Decision | None] = [_precluded(policy, candidate) for candidate in chunk]
    evaluations: dict[int, Evaluation] = {}

    def evaluate_open(indexes: Iterable[int]) -> list[int]:
        """The places still open after what is known now."""
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
    """The decision that no rule can change, if there is one."""
    core, thing = candidate.core.name, candidate.thing
    if not policy.sources.matches(candidate.core):  # first: what is outside counts in no percentage
        return Decision(core, thing, Disposition.OUTSIDE, f"the core {core} is outside [sources]")
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
    """The sets not yet asked for that could decide one of these."""
    queries: dict[SetQuery, None] = {}
    for candidate, evaluation in unresolved:
        for part in deciding_conditions(evaluation):
            if isinstance(part.node, SetCondition) and not part.node.is_resolved(candidate, facts):
                queries[part.node.set_query] = None
    return list(queries)


def _needs_description(candidate: Candidate, evaluation: Evaluation, facts: Facts) -> bool:
    """Whether the thing's description, not yet asked for, could decide."""
    if candidate.thing in facts.things:
        return False
    return any(isinstance(part.node, ThingCondition) for part in deciding_conditions(evaluation))


async def _aiter_chunks(
    candidates: Iterable[Sequence[Candidate]] | AsyncIterable[Sequence[Candidate]],
) -> AsyncIterator[Sequence[Candidate]]:
    if isinstance(candidates, AsyncIterable):
        async for chunk in candidates:
            yield chunk
    else:
        for chunk in candidates:
            yield chunk
