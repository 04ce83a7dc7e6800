"""Rule: the selection lives here: that asking little decides as asking everything would, and that it asks little."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.cleanup import Candidate, Decision, Disposition, Policy, RegistryCache, decide_candidate, decide_chunks
from asyncgg.cleanup.policy import Sources
from asyncgg.cleanup.rules import (
    AllOf,
    AnyOf,
    AssociatedBefore,
    IndexQuery,
    Node,
    Not,
    Pattern,
    ThingDescription,
    ThingGroup,
    ThingMissing,
    ThingName,
    ThingType,
)
from asyncgg.errors import CredentialsError
from asyncgg.testing import run_virtual
from tests.cleanup.support import (
    DAY,
    NOW,
    PlainRegistry,
    candidate,
    candidates,
    chunked,
    failing,
    lists,
    policy_of,
    registries,
    trees,
)

pytestmark = pytest.mark.virtual


async def decisions(policy: Policy, chunks: Iterable[Sequence[Candidate]], questions: RegistryCache) -> list[Decision]:
    """All decisions, in their order."""
    return [decision async for decision in decide_chunks(policy, chunks, questions, NOW)]


@settings(max_examples=150, deadline=None)
@given(
    trees,
    st.lists(candidates, max_size=8, unique=True),
    registries(),
    lists,
    failing,
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_asking_little_decides_as_asking_all(
    tree: Node,
    many: list[Candidate],
    registry: PlainRegistry,
    names: dict[str, frozenset[str]],
    lost: frozenset[str],
    size: int,
    random: object,
) -> None:
    """In any order and any chunks each candidate gets the verdict that all answers at once give it, asked once each;

    and of an answer that fails, nothing more is selected than with it.
    """
    policy = policy_of(tree, protect=["b2"])
    shuffled = list(many)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random
    broken = replace(registry, fails=lost.__contains__, asked=[])

    async def run(asked: PlainRegistry) -> dict[Candidate, Disposition]:
        questions = RegistryCache(asked, lists=names)
        found = await decisions(policy, chunked(shuffled, size), questions)
        assert [(one.core, one.thing) for one in found] == [(one.core.name, one.thing) for one in shuffled]
        return dict(zip(shuffled, (one.disposition for one in found), strict=True))

    whole, less = run_virtual(run(registry)), run_virtual(run(broken))
    for one in many:
        assert whole[one] is decide_candidate(policy, one, registry.known(names), NOW).disposition
        assert less[one] is decide_candidate(policy, one, broken.known(names), NOW).disposition
        assert less[one] is not Disposition.SELECTED or whole[one] is Disposition.SELECTED
    for asked in (registry.asked, broken.asked):
        assert len(asked) == len(set(asked))


async def test_it_asks_in_the_order_of_cost() -> None:
    """Name and age first, then the group once, then only the things that are still open, each once for all cores."""
    registry = PlainRegistry({"b1": ThingDescription(True, "pump")}, {"g": ["b1", "b2"]})
    policy = policy_of(
        AllOf((ThingMissing(), ThingGroup("g"), ThingName(Pattern("b*")), AssociatedBefore(age=5 * DAY)))
    )
    old = 9 * DAY
    many = [
        candidate("a1", age=old),
        candidate("b1", age=DAY),
        candidate("b1", age=old),
        candidate("b2", age=old),
        candidate("b2", "core-2", age=old),
        candidate("b3", age=old),
    ]
    questions = RegistryCache(registry)
    found = await decisions(policy, chunked(many, 2), questions)
    assert registry.asked == ["group g", "b1", "b2"]
    assert [one.selected for one in found] == [False, False, False, True, True, False]
    assert found[3].reason == "r1: thing-missing, thing-group g, name b*, associated-before "
    statistics = questions.statistics()
    assert (statistics.things, statistics.missing, statistics.sets, statistics.failed) == (2, 1, 1, 0)


async def test_nothing_is_asked_that_cannot_matter() -> None:
    """A rule that is decided either way without AWS IoT costs no question, and protected things never do."""
    registry = PlainRegistry()
    policy = policy_of(AnyOf((ThingName(Pattern("a*")), ThingMissing(), IndexQuery("q"))), protect=["thing:c*"])
    found = await decisions(policy, [[candidate("a1"), candidate("c1")]], RegistryCache(registry))
    assert registry.asked == []
    assert [one.disposition for one in found] == [Disposition.SELECTED, Disposition.PROTECTED]
    assert found[1].reason == "protected by thing:c*"


async def test_cores_outside_the_sources_are_left_alone() -> None:
    """Candidates of a core that `[sources]` does not take are kept, even when an inventory has them."""
    policy = replace(policy_of(ThingName(Pattern("a*"))), sources=Sources(name="berlin-*"))
    found = await decisions(policy, [[candidate("a1", "lyon-1"), candidate("a1", "berlin-1")]], RegistryCache())
    assert [one.disposition for one in found] == [Disposition.OUTSIDE, Disposition.SELECTED]


async def test_what_cannot_be_asked_selects_nothing_and_is_told_once() -> None:
    """A failed question keeps its things, under `not` as well, and people are told once and not for every thing."""
    registry = PlainRegistry(groups={"empty": []}, fails=lambda subject: subject != "empty")
    policy = policy_of(ThingType("pump"), Not(ThingType("pump")), Not(ThingGroup("g")), ThingGroup("empty"))
    told: list[str] = []
    questions = RegistryCache(registry, on_warning=told.append)
    found = await decisions(policy, chunked([candidate(f"a{n}") for n in range(6)], 3), questions)
    assert {one.disposition for one in found} == {Disposition.UNDETERMINED}
    assert "r2: thing-type pump unknown (it failed)" in found[0].reason
    assert told == [
        "it failed; a rule that needs this selects nothing",
        "the thing group empty has no things",
        "it failed; a thing that cannot be asked for is not selected by a rule that needs it",
    ]
    assert questions.statistics().failed == 7


async def test_without_a_registry_nothing_is_known() -> None:
    """Questions without anybody to ask keep everything."""
    found = await decisions(policy_of(ThingMissing(), Not(ThingGroup("g"))), [[candidate()]], RegistryCache())
    assert found[0].disposition is Disposition.UNDETERMINED


async def test_a_registry_confirms_one_of_many() -> None:
    """It is asked in turn until it has one; an answer that fails confirms nothing; and none of it counts as asked."""
    registry = PlainRegistry({"a3": ThingDescription(True)}, fails=lambda subject: subject == "a1")
    questions = RegistryCache(registry)
    assert await questions.any_exists(["a1", "a2", "a3", "a4"])
    assert registry.asked == ["a1", "a2", "a3"]
    assert not await questions.any_exists(["a1", "a2"])
    assert questions.statistics().things == 0


async def test_lost_credentials_end_it() -> None:
    """No credentials is no answer to a question but the end, as one error and not as a group of them."""

    class Expired(PlainRegistry):
        async def describe_thing(self, thing: str) -> ThingDescription:
            raise CredentialsError("log in again")

    with pytest.raises(CredentialsError, match="log in again"):
        await decisions(policy_of(ThingMissing()), [[candidate("a1"), candidate("a2")]], RegistryCache(Expired()))


async def test_many_candidates_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is decided before the next is fetched, and what is held of things stays bounded."""
    monkeypatch.setattr("asyncgg.cleanup.questions._HELD", 10)
    fetched = 0

    async def chunks() -> AsyncIterator[list[Candidate]]:
        nonlocal fetched
        for number in range(4):
            fetched += 1
            yield [candidate(f"t{number}-{n}") for n in range(4)]

    questions = RegistryCache(PlainRegistry())
    going = decide_chunks(policy_of(ThingMissing()), chunks(), questions, NOW)
    seen = [(fetched, len(questions.facts.things)) async for decision in going if decision.thing.endswith("-0")]
    assert seen == [(1, 4), (2, 8), (3, 12), (4, 4)]
