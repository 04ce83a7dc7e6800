"""Rule: the laws that hold for every tree of rules live here: what may never enlarge a selection."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.cleanup.rules import (
    AllOf,
    AnyOf,
    Candidate,
    Facts,
    Node,
    Not,
    NotIn,
    Pattern,
    Ternary,
    ThingName,
    deciding_conditions,
    evaluate,
    format_reason,
)
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
    """The tree's answer."""
    return evaluate(tree, item, facts, NOW).result


@FEWER_EXAMPLES
@given(trees, candidates, registries(), lists, failing, st.booleans())
def test_a_missing_answer_never_selects(
    tree: Node,
    one: Candidate,
    registry: FakeRegistry,
    names: dict[str, frozenset[str]],
    lost: frozenset[str],
    read: bool,
) -> None:
    """Whatever answers are lost, a definite answer that is left is the one that all answers together give."""
    whole = evaluate_tree(tree, one, registry.all_facts(names))
    less = evaluate_tree(tree, one, replace(registry, fails=lost.__contains__).all_facts(names if read else {}))
    assert less in {whole, Ternary.UNKNOWN}


@FEWER_EXAMPLES
@given(trees, trees, candidates, registries(), lists)
def test_combining_goes_one_way(
    one_tree: Node, other: Node, one: Candidate, registry: FakeRegistry, names: dict[str, frozenset[str]]
) -> None:
    """A further condition under `all` only takes away, one under `any` only adds, and nothing is both x and not x."""
    facts = registry.all_facts(names)
    first_result = evaluate_tree(one_tree, one, facts)
    assert evaluate_tree(AllOf((one_tree, other)), one, facts) is not Ternary.YES or first_result is Ternary.YES
    assert first_result is not Ternary.YES or evaluate_tree(AnyOf((one_tree, other)), one, facts) is Ternary.YES
    assert evaluate_tree(AllOf((one_tree, Not(one_tree))), one, facts) is not Ternary.YES
    assert evaluate_tree(Not(Not(one_tree)), one, facts) is first_result


@FEWER_EXAMPLES
@given(trees, candidates, registries(), lists, st.lists(st.sampled_from(["a1", "b*", "core:core-1", "?2"])))
def test_protect_never_enlarges(
    tree: Node, one: Candidate, registry: FakeRegistry, names: dict[str, frozenset[str]], entries: list[str]
) -> None:
    """With more entries to protect, nothing is selected that was not before, and what they name never is."""
    facts = registry.all_facts(names)
    before = decide_candidate(make_policy(tree), one, facts, NOW)
    policy = make_policy(tree, protect=entries)
    after = decide_candidate(policy, one, facts, NOW)
    assert before.selected or not after.selected
    assert not (after.selected and policy.protect.match(one.core.name, one.thing))


@FEWER_EXAMPLES
@given(trees, candidates, registries(), lists, failing)
def test_what_decided_is_enough(
    tree: Node, one: Candidate, registry: FakeRegistry, names: dict[str, frozenset[str]], lost: frozenset[str]
) -> None:
    """Something is always named as the reason, and of an undecided tree only what has no answer."""
    facts = replace(registry, fails=lost.__contains__).all_facts(names)
    finding = evaluate(tree, one, facts, NOW)
    parts = list(deciding_conditions(finding))
    assert parts
    assert format_reason(finding, one, facts, NOW)
    if finding.result is Ternary.UNKNOWN:
        assert {part.result for part in parts} == {Ternary.UNKNOWN}


def test_a_reason_names_rule_and_facts() -> None:
    """The facts stand under the ids of the rules that decided, told as they are and not as the rule negates them."""
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
