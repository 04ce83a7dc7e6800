"""The selection of candidates, with as few lookups as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.cleanup.policy.model import Policy, Sources
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.rules.base import Candidate, ThingDescription
from asyncgg.cleanup.rules.conditions import (
    AssociatedBefore,
    IndexQuery,
    Pattern,
    ThingGroup,
    ThingMissing,
    ThingName,
    ThingType,
)
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Node, Not
from asyncgg.cleanup.select import Decision, Disposition, decide_candidate, decide_chunks
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
    policy: Policy, chunks: Iterable[Sequence[Candidate]], cache: RegistryCache
) -> list[Decision]:
    """All decisions in order."""
    return [decision async for decision in decide_chunks(policy, chunks, cache, NOW)]


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
def test_decide_chunks_equals_decision_with_all_facts(
    tree: Node,
    many: list[Candidate],
    registry: FakeRegistry,
    names: dict[str, frozenset[str]],
    failures: frozenset[str],
    size: int,
    random: object,
) -> None:
    """Order, chunks and lookup savings do not change decisions; each lookup is made once."""
    policy = make_policy(tree, protect=["b2"])
    shuffled = list(many)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random
    broken = replace(registry, fails=failures.__contains__, queries_made=[])

    async def run(source: FakeRegistry) -> dict[Candidate, Disposition]:
        cache = RegistryCache(source, lists=names)
        result = await collect_decisions(policy, chunked(shuffled, size), cache)
        assert [(decision.core, decision.thing) for decision in result] == [
            (item.core.name, item.thing) for item in shuffled
        ]
        return dict(zip(shuffled, (decision.disposition for decision in result), strict=True))

    complete, partial = run_virtual(run(registry)), run_virtual(run(broken))
    for item in many:
        assert complete[item] is decide_candidate(policy, item, registry.all_facts(names), NOW).disposition
        assert partial[item] is decide_candidate(policy, item, broken.all_facts(names), NOW).disposition
        assert partial[item] is not Disposition.SELECTED or complete[item] is Disposition.SELECTED
    for queries_made in (registry.queries_made, broken.queries_made):
        assert len(queries_made) == len(set(queries_made))


async def test_decide_chunks_looks_up_in_order_of_cost() -> None:
    """Local conditions come first, then sets, then single undecided things."""
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
    cache = RegistryCache(registry)
    result = await collect_decisions(policy, chunked(many, 2), cache)
    assert registry.queries_made == ["group g", "b1", "b2"]
    assert [decision.selected for decision in result] == [False, False, False, True, True, False]
    assert result[3].reason == "r1: thing-missing, thing-group g, name b*, associated-before "
    statistics = cache.statistics()
    assert (statistics.things, statistics.missing, statistics.sets, statistics.failed) == (2, 1, 1, 0)


async def test_decide_chunks_skips_irrelevant_lookups() -> None:
    """Decided and protected candidates need no lookup."""
    registry = FakeRegistry()
    policy = make_policy(AnyOf((ThingName(Pattern("a*")), ThingMissing(), IndexQuery("q"))), protect=["thing:c*"])
    result = await collect_decisions(policy, [[candidate("a1"), candidate("c1")]], RegistryCache(registry))
    assert registry.queries_made == []
    assert [decision.disposition for decision in result] == [Disposition.SELECTED, Disposition.PROTECTED]
    assert result[1].reason == "protected by thing:c*"


async def test_decide_chunks_core_outside_sources_is_kept() -> None:
    """Candidates on a core outside `[sources]` are kept."""
    policy = replace(make_policy(ThingName(Pattern("a*"))), sources=Sources(name="berlin-*"))
    result = await collect_decisions(
        policy, [[candidate("a1", "lyon-1"), candidate("a1", "berlin-1")]], RegistryCache()
    )
    assert [decision.disposition for decision in result] == [Disposition.OUTSIDE, Disposition.SELECTED]


async def test_decide_chunks_failed_lookup_is_undetermined() -> None:
    """A failed lookup keeps its things, under `not` as well, and warns once."""
    registry = FakeRegistry(groups={"empty": []}, fails=lambda subject: subject != "empty")
    policy = make_policy(ThingType("pump"), Not(ThingType("pump")), Not(ThingGroup("g")), ThingGroup("empty"))
    warnings: list[str] = []
    cache = RegistryCache(registry, on_warning=warnings.append)
    result = await collect_decisions(policy, chunked([candidate(f"a{n}") for n in range(6)], 3), cache)
    assert {decision.disposition for decision in result} == {Disposition.UNDETERMINED}
    assert "r2: thing-type pump unknown (it failed)" in result[0].reason
    assert warnings == [
        "it failed; rules that need this select nothing",
        "thing group empty is empty",
        "it failed; rules that need a failed lookup do not select the thing",
    ]
    assert cache.statistics().failed == 7


async def test_decide_chunks_without_registry_is_undetermined() -> None:
    """Conditions with lookups are unknown without a registry."""
    result = await collect_decisions(
        make_policy(ThingMissing(), Not(ThingGroup("g"))), [[candidate()]], RegistryCache()
    )
    assert result[0].disposition is Disposition.UNDETERMINED


async def test_any_exists_stops_at_first_thing() -> None:
    """Lookups stop at the first existing thing and are not counted."""
    registry = FakeRegistry({"a3": ThingDescription(True)}, fails=lambda subject: subject == "a1")
    cache = RegistryCache(registry)
    assert await cache.any_exists(["a1", "a2", "a3", "a4"])
    assert registry.queries_made == ["a1", "a2", "a3"]
    assert not await cache.any_exists(["a1", "a2"])
    assert cache.statistics().things == 0


async def test_decide_chunks_credentials_error_is_raised() -> None:
    """A credentials error is raised as one error, not as a group."""

    class ExpiredRegistry(FakeRegistry):
        async def describe_thing(self, thing: str) -> ThingDescription:
            raise CredentialsError("log in again")

    with pytest.raises(CredentialsError, match="log in again"):
        await collect_decisions(
            make_policy(ThingMissing()), [[candidate("a1"), candidate("a2")]], RegistryCache(ExpiredRegistry())
        )


async def test_decide_chunks_holds_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is decided before the next is fetched, and cached things are bounded."""
    monkeypatch.setattr("asyncgg.cleanup.registry_cache._MAX_CACHED", 10)
    fetched = 0

    def chunks() -> Iterator[list[Candidate]]:
        nonlocal fetched
        for number in range(4):
            fetched += 1
            yield [candidate(f"t{number}-{n}") for n in range(4)]

    cache = RegistryCache(FakeRegistry())
    decisions = decide_chunks(make_policy(ThingMissing()), chunks(), cache, NOW)
    observed = [(fetched, len(cache.facts.things)) async for decision in decisions if decision.thing.endswith("-0")]
    assert observed == [(1, 4), (2, 8), (3, 12), (4, 4)]
