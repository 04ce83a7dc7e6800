"""Rule: which candidates go is decided here, chunk by chunk, asking AWS IoT only for what is still open.

Questions come in the order of their cost: none at first, then sets (one for all candidates), then one for each thing.
After each step the whole tree is asked again; who has a definite answer then takes no part in the next.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from asyncgg.cleanup.policy import Policy
from asyncgg.cleanup.questions import Questions
from asyncgg.cleanup.rules import Answer, Candidate, Finding, Known, SetQuestion, deciding, examine, reason
from asyncgg.cleanup.rules.asked import SetCondition, ThingCondition

__all__ = ["Decision", "Verdict", "decide", "select"]


class Verdict(StrEnum):
    """What becomes of one candidate."""

    SELECTED = "selected"
    KEPT = "kept"
    """No rule selects it."""
    DOUBTFUL = "doubtful"
    """It might be selected if an answer were known; kept."""
    PROTECTED = "protected"
    """Kept whatever the rules say."""
    OUTSIDE = "outside"
    """On a core that `[sources]` leaves out; kept."""


class Decision(NamedTuple):
    """What becomes of one candidate, and why."""

    core: str
    thing: str
    verdict: Verdict
    reason: str
    """The facts that decided, under the ids of their rules."""

    @property
    def selected(self) -> bool:
        """Whether it goes."""
        return self.verdict is Verdict.SELECTED


async def select(
    policy: Policy,
    candidates: Iterable[Sequence[Candidate]] | AsyncIterable[Sequence[Candidate]],
    questions: Questions,
    now: float,
) -> AsyncIterator[Decision]:
    """Decide about every candidate, in their order; one chunk at a time is held. `now`: seconds since 1970, UTC.

    Raises:
        CredentialsError: AWS IoT does not accept the credentials, and there are no others.
    """
    async for chunk in _each(candidates):
        questions.make_room()
        for decision in await _decided(policy, chunk, questions, now):
            yield decision


def decide(policy: Policy, candidate: Candidate, known: Known, now: float) -> Decision:
    """What becomes of one candidate by what is known. Pure."""
    kept = _kept(policy, candidate)
    return kept or _judged(candidate, examine(policy.tree, candidate, known, now), known, now)


async def _decided(policy: Policy, chunk: Sequence[Candidate], questions: Questions, now: float) -> list[Decision]:
    known, tree = questions.known, policy.tree
    decisions: list[Decision | None] = [_kept(policy, candidate) for candidate in chunk]
    findings: dict[int, Finding] = {}

    def judge(places: Iterable[int]) -> list[int]:
        """The places still open after what is known now."""
        still = []
        for place in places:
            finding = findings[place] = examine(tree, chunk[place], known, now)
            if finding.answer is Answer.UNKNOWN:
                still.append(place)
        return still

    undecided = judge([place for place, decision in enumerate(decisions) if decision is None])
    while sets := _open_sets([(chunk[place], findings[place]) for place in undecided], known):
        await questions.ask_sets(sets)
        undecided = judge(undecided)
    things = [chunk[place].thing for place in undecided if _needs_thing(chunk[place], findings[place], known)]
    if things:
        await questions.ask_things(things)
        judge(undecided)
    return [decision or _judged(chunk[place], findings[place], known, now) for place, decision in enumerate(decisions)]


def _kept(policy: Policy, candidate: Candidate) -> Decision | None:
    """The decision that no rule can change, if there is one."""
    core, thing = candidate.core.name, candidate.thing
    if not policy.sources.takes(candidate.core):  # first: what is outside counts in no percentage
        return Decision(core, thing, Verdict.OUTSIDE, f"the core {core} is outside [sources]")
    if entry := policy.protect.match(core, thing):
        return Decision(core, thing, Verdict.PROTECTED, f"protected by {entry}")
    return None


_VERDICTS = {Answer.YES: Verdict.SELECTED, Answer.NO: Verdict.KEPT, Answer.UNKNOWN: Verdict.DOUBTFUL}


def _judged(candidate: Candidate, finding: Finding, known: Known, now: float) -> Decision:
    words = reason(finding, candidate, known, now)
    return Decision(candidate.core.name, candidate.thing, _VERDICTS[finding.answer], words)


def _open_sets(open_ones: Iterable[tuple[Candidate, Finding]], known: Known) -> list[SetQuestion]:
    """The sets not yet asked for that could decide one of these."""
    wanted: dict[SetQuestion, None] = {}
    for candidate, finding in open_ones:
        for part in deciding(finding):
            if isinstance(part.node, SetCondition) and not part.node.asked(candidate, known):
                wanted[part.node.question] = None
    return list(wanted)


def _needs_thing(candidate: Candidate, finding: Finding, known: Known) -> bool:
    """Whether the thing's description, not yet asked for, could decide."""
    if candidate.thing in known.things:
        return False
    return any(isinstance(part.node, ThingCondition) for part in deciding(finding))


async def _each(
    candidates: Iterable[Sequence[Candidate]] | AsyncIterable[Sequence[Candidate]],
) -> AsyncIterator[Sequence[Candidate]]:
    if isinstance(candidates, AsyncIterable):
        async for chunk in candidates:
            yield chunk
    else:
        for chunk in candidates:
            yield chunk
