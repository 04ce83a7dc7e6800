"""Laws of rule expressions: what must never enlarge a selection."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.cleanup.rules.base import Candidate, Facts, Ternary
from asyncgg.cleanup.rules.conditions import NotIn, Pattern, ThingName
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Node, Not, deciding_conditions, evaluate, format_reason
from asyncgg.cleanup.select import decide_candidate
from tests.support.cleanup_rules import (
    NOW,
    FakeRegistry,
    candidate,
    candidates,
    failing,
    lists,
    make_policy,
    registries,
    trees,
)

FEWER_EXAMPLES = settings(max_examples=100, deadline=None)


def evaluate_tree(tree: Node, item: Candidate, facts: Facts) -> Ternary:
    """The result of the tree."""
    return evaluate(tree, item, facts, NOW).result


@FEWER_EXAMPLES
@given(trees, candidates, registries(), lists, failing, st.booleans())
def test_evaluate_missing_fact_is_same_or_unknown(
    tree: Node,
    item: Candidate,
    registry: FakeRegistry,
    names: dict[str, frozenset[str]],
    failures: frozenset[str],
    read: bool,
) -> None:
    """Without some facts, a result is the same as with all, or unknown."""
    complete = evaluate_tree(tree, item, registry.all_facts(names))
    partial = evaluate_tree(tree, item, replace(registry, fails=failures.__contains__).all_facts(names if read else {}))
    assert partial in {complete, Ternary.UNKNOWN}


@FEWER_EXAMPLES
@given(trees, trees, candidates, registries(), lists)
def test_evaluate_combinations_are_monotonic(
    first: Node, second: Node, item: Candidate, registry: FakeRegistry, names: dict[str, frozenset[str]]
) -> None:
    """`all` only narrows, `any` only widens, and no candidate is both x and not x."""
    facts = registry.all_facts(names)
    first_result = evaluate_tree(first, item, facts)
    assert evaluate_tree(AllOf((first, second)), item, facts) is not Ternary.YES or first_result is Ternary.YES
    assert first_result is not Ternary.YES or evaluate_tree(AnyOf((first, second)), item, facts) is Ternary.YES
    assert evaluate_tree(AllOf((first, Not(first))), item, facts) is not Ternary.YES
    assert evaluate_tree(Not(Not(first)), item, facts) is first_result


@FEWER_EXAMPLES
@given(trees, candidates, registries(), lists, st.lists(st.sampled_from(["a1", "b*", "core:core-1", "?2"])))
def test_protect_entries_never_select(
    tree: Node, item: Candidate, registry: FakeRegistry, names: dict[str, frozenset[str]], entries: list[str]
) -> None:
    """More protect entries never select more, and protected candidates are never selected."""
    facts = registry.all_facts(names)
    before = decide_candidate(make_policy(tree), item, facts, NOW)
    policy = make_policy(tree, protect=entries)
    after = decide_candidate(policy, item, facts, NOW)
    assert before.selected or not after.selected
    assert not (after.selected and policy.protect.match(item.core.name, item.thing))


@FEWER_EXAMPLES
@given(trees, candidates, registries(), lists, failing)
def test_deciding_conditions_give_reason(
    tree: Node, item: Candidate, registry: FakeRegistry, names: dict[str, frozenset[str]], failures: frozenset[str]
) -> None:
    """Every result has deciding conditions; those of an unknown result are unknown."""
    facts = replace(registry, fails=failures.__contains__).all_facts(names)
    evaluation = evaluate(tree, item, facts, NOW)
    parts = list(deciding_conditions(evaluation))
    assert parts
    assert format_reason(evaluation, item, facts, NOW)
    if evaluation.result is Ternary.UNKNOWN:
        assert {part.result for part in parts} == {Ternary.UNKNOWN}


def test_format_reason_lists_facts_by_rule() -> None:
    """A reason lists the facts by rule id, as they are and not as the rule negates them."""
    policy = make_policy(
        AllOf((ThingName(Pattern("a*")), Not(ThingName(Pattern("*9"))))), ThingName(Pattern("b*")), NotIn("keep.txt")
    )
    facts = Facts(lists={"keep.txt": frozenset({"b2"})})
    assert (
        decide_candidate(policy, candidate("a1"), facts, NOW).reason == "r1: name a*, not name *9; r3: not-in keep.txt"
    )
    assert (
        decide_candidate(policy, candidate("c1"), Facts(), NOW).reason
        == "r3: not-in keep.txt unknown (keep.txt not read)"
    )
    only_list = make_policy(NotIn("keep.txt"))
    assert decide_candidate(only_list, candidate("b2"), facts, NOW).reason == "r1: in keep.txt"
