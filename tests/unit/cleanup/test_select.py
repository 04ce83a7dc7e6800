"""Rule: the selection lives here: that asking little decides as asking everything would, and that it asks little."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.cleanup import Candidate, Decision, Disposition, Policy, RegistryCache, decide_candidate, decide_chunks
from asyncgg.cleanup.policy.model import Sources
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
from tests.support.cleanup_rules import (
    DAY,
    NOW,
    FakeRegistry,
    candidate,
    candidates,
    chunked,
    failing,
    lists,
    make_policy,
    registries,
    trees,
)

pytestmark = pytest.mark.virtual


async def collect_decisions(
    policy: Policy, chunks: Iterable[Sequence[Candidate]], questions: RegistryCache
) -> list[Decision]:
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
    registry: FakeRegistry,
    names: dict[str, frozenset[str]],
    lost: frozenset[str],
    size: int,
    random: object,
) -> None:
    """In any order and any chunks each candidate gets the verdict that all answers at once give it, asked once each;

    and of an answer that fails, nothing more is selected than with it.
    """
    policy = make_policy(tree, protect=["b2"])
    shuffled = list(many)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random
    broken = replace(registry, fails=lost.__contains__, queries_made=[])

    async def run(asked: FakeRegistry) -> dict[Candidate, Disposition]:
        questions = RegistryCache(asked, lists=names)
        result = await collect_decisions(policy, chunked(shuffled, size), questions)
        assert [(one.core, one.thing) for one in result] == [(one.core.name, one.thing) for one in shuffled]
        return dict(zip(shuffled, (one.disposition for one in result), strict=True))

    whole, less = run_virtual(run(registry)), run_virtual(run(broken))
    for item in many:
        assert whole[item] is decide_candidate(policy, item, registry.all_facts(names), NOW).disposition
        assert less[item] is decide_candidate(policy, item, broken.all_facts(names), NOW).disposition
        assert less[item] is not Disposition.SELECTED or whole[item] is Disposition.SELECTED
    for queries_made in (registry.queries_made, broken.queries_made):
        assert len(queries_made) == len(set(queries_made))


async def test_it_asks_in_the_order_of_cost() -> None:
    """Name and age first, then the group once, then only the things that are still open, each once for all cores."""
    registry = FakeRegistry({"b1": ThingDescription(True, "pump")}, {"g": ["b1", "b2"]})
    policy = make_policy(
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
    result = await collect_decisions(policy, chunked(many, 2), questions)
    assert registry.queries_made == ["group g", "b1", "b2"]
    assert [one.selected for one in result] == [False, False, False, True, True, False]
    assert result[3].reason == "r1: thing-missing, thing-group g, name b*, associated-before "
    statistics = questions.statistics()
    assert (statistics.things, statistics.missing, statistics.sets, statistics.failed) == (2, 1, 1, 0)


async def test_nothing_is_asked_that_cannot_matter() -> None:
    """A rule that is decided either way without AWS IoT costs no question, and protected things never do."""
    registry = FakeRegistry()
    policy = make_policy(AnyOf((ThingName(Pattern("a*")), ThingMissing(), IndexQuery("q"))), protect=["thing:c*"])
    result = await collect_decisions(policy, [[candidate("a1"), candidate("c1")]], RegistryCache(registry))
    assert registry.queries_made == []
    assert [one.disposition for one in result] == [Disposition.SELECTED, Disposition.PROTECTED]
    assert result[1].reason == "protected by thing:c*"


async def test_cores_outside_the_sources_are_left_alone() -> None:
    """Candidates of a core that `[sources]` does not take are kept, even when an inventory has them."""
    policy = replace(make_policy(ThingName(Pattern("a*"))), sources=Sources(name="berlin-*"))
    result = await collect_decisions(
        policy, [[candidate("a1", "lyon-1"), candidate("a1", "berlin-1")]], RegistryCache()
    )
    assert [one.disposition for one in result] == [Disposition.OUTSIDE, Disposition.SELECTED]


async def test_what_cannot_be_asked_selects_nothing_and_is_told_once() -> None:
    """A failed question keeps its things, under `not` as well, and people are told once and not for every thing."""
    registry = FakeRegistry(groups={"empty": []}, fails=lambda subject: subject != "empty")
    policy = make_policy(ThingType("pump"), Not(ThingType("pump")), Not(ThingGroup("g")), ThingGroup("empty"))
    warnings: list[str] = []
    questions = RegistryCache(registry, on_warning=warnings.append)
    result = await collect_decisions(policy, chunked([candidate(f"a{n}") for n in range(6)], 3), questions)
    assert {one.disposition for one in result} == {Disposition.UNDETERMINED}
    assert "r2: thing-type pump unknown (it failed)" in result[0].reason
    assert warnings == [
        "it failed; rules that need this select nothing",
        "thing group empty is empty",
        "it failed; rules that need a failed lookup do not select the thing",
    ]
    assert questions.statistics().failed == 7


async def test_without_a_registry_nothing_is_known() -> None:
    """Questions without anybody to ask keep everything."""
    result = await collect_decisions(
        make_policy(ThingMissing(), Not(ThingGroup("g"))), [[candidate()]], RegistryCache()
    )
    assert result[0].disposition is Disposition.UNDETERMINED


async def test_a_registry_confirms_one_of_many() -> None:
    """It is asked in turn until it has one; an answer that fails confirms nothing; and none of it counts as asked."""
    registry = FakeRegistry({"a3": ThingDescription(True)}, fails=lambda subject: subject == "a1")
    questions = RegistryCache(registry)
    assert await questions.any_exists(["a1", "a2", "a3", "a4"])
    assert registry.queries_made == ["a1", "a2", "a3"]
    assert not await questions.any_exists(["a1", "a2"])
    assert questions.statistics().things == 0


async def test_lost_credentials_end_it() -> None:
    """No credentials is no answer to a question but the end, as one error and not as a group of them."""

    class ExpiredRegistry(FakeRegistry):
        async def describe_thing(self, thing: str) -> ThingDescription:
            raise CredentialsError("log in again")

    with pytest.raises(CredentialsError, match="log in again"):
        await collect_decisions(
            make_policy(ThingMissing()), [[candidate("a1"), candidate("a2")]], RegistryCache(ExpiredRegistry())
        )


async def test_many_candidates_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is decided before the next is fetched, and what is held of things stays bounded."""
    monkeypatch.setattr("asyncgg.cleanup.registry_cache._MAX_CACHED", 10)
    fetched = 0

    async def chunks() -> AsyncIterator[list[Candidate]]:
        nonlocal fetched
        for number in range(4):
            fetched += 1
            yield [candidate(f"t{number}-{n}") for n in range(4)]

    questions = RegistryCache(FakeRegistry())
    going = decide_chunks(make_policy(ThingMissing()), chunks(), questions, NOW)
    observed = [(fetched, len(questions.facts.things)) async for decision in going if decision.thing.endswith("-0")]
    assert observed == [(1, 4), (2, 8), (3, 12), (4, 4)]
