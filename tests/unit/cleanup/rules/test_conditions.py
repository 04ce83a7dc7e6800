"""Rule: each condition by itself lives here: when it says yes, no, and that it does not know."""

from __future__ import annotations

import pytest

from asyncgg.cleanup.rules import (
    Api,
    AssociatedBefore,
    Candidate,
    Condition,
    CoreOfflineFor,
    CoreStatus,
    Facts,
    IndexQuery,
    NotIn,
    Pattern,
    QueryFailed,
    SetQuery,
    Ternary,
    ThingAttribute,
    ThingDescription,
    ThingGroup,
    ThingMissing,
    ThingName,
    ThingType,
)
from tests.support.cleanup_rules import DAY, NOW, candidate

PUMP = Facts(things={"a1": ThingDescription(True, "pump", {"site": "berlin-2"})})
MISSING = Facts(things={"a1": ThingDescription(False)})
FAILED = Facts(
    things={"a1": QueryFailed("DescribeThing: it failed")},
    sets={SetQuery(Api.LIST_THINGS_IN_THING_GROUP, "g", recursive=True): QueryFailed("cannot be listed")},
)
IN_GROUP = Facts(sets={SetQuery(Api.LIST_THINGS_IN_THING_GROUP, "g", recursive=True): frozenset({"a1"})})
IN_INDEX = Facts(sets={SetQuery(Api.SEARCH_INDEX, "q"): frozenset({"a1"})})
YES, NO, UNKNOWN = Ternary


@pytest.mark.parametrize(
    ("condition", "one", "known", "answer", "because"),
    [
        (ThingName(Pattern("a?")), candidate("a1"), Facts(), YES, "the name is a1"),
        (ThingName(Pattern("A?")), candidate("a1"), Facts(), NO, "the name is a1"),
        (ThingName(Pattern("a", regex=True)), candidate("a1"), Facts(), NO, "the name is a1"),
        (AssociatedBefore(age=DAY), candidate(age=DAY + 1), Facts(), YES, "associated 2027-01-14, 1.0 days ago"),
        (AssociatedBefore(age=DAY), candidate(age=DAY), Facts(), NO, "associated 2027-01-14, 1.0 days ago"),
        (AssociatedBefore(age=DAY), candidate(age=None), Facts(), UNKNOWN, "the listing did not say since when"),
        (AssociatedBefore(age=DAY), candidate(age=-DAY), Facts(), NO, "associated 2027-01-16, which is to come"),
        (
            AssociatedBefore(before=NOW - DAY),
            candidate(age=2 * DAY),
            Facts(),
            YES,
            "associated 2027-01-13, 2.0 days ago",
        ),
        (CoreStatus("UNHEALTHY"), candidate(status="UNHEALTHY"), Facts(), YES, "the core is UNHEALTHY"),
        (CoreStatus("UNHEALTHY"), candidate(), Facts(), NO, "the core is HEALTHY"),
        (CoreStatus("UNHEALTHY"), candidate(status=""), Facts(), UNKNOWN, "the listing did not tell the core's status"),
        (CoreOfflineFor(DAY), candidate(offline_for=DAY + 1), Facts(), YES, "last status 2027-01-14, 1.0 days ago"),
        (CoreOfflineFor(DAY), candidate(offline_for=-1), Facts(), NO, "last status 2027-01-15, which is to come"),
        (
            CoreOfflineFor(DAY),
            candidate(offline_for=None),
            Facts(),
            UNKNOWN,
            "the listing did not say when the core reported last",
        ),
        (NotIn("k"), candidate(), Facts(lists={"k": frozenset({"b"})}), YES, "is not in k (1 names)"),
        (NotIn("k"), candidate(), Facts(lists={"k": frozenset({"a1"})}), NO, "is in k (1 names)"),
        (NotIn("k"), candidate(), Facts(), UNKNOWN, "k was not read"),
        (ThingMissing(), candidate(), MISSING, YES, "there is no such thing"),
        (ThingMissing(), candidate(), PUMP, NO, "the thing exists"),
        (ThingMissing(), candidate(), Facts(), UNKNOWN, "it was not asked"),
        (ThingMissing(), candidate(), FAILED, UNKNOWN, "DescribeThing: it failed"),
        (ThingType("pump"), candidate(), PUMP, YES, "its type is pump"),
        (ThingType("valve"), candidate(), PUMP, NO, "its type is pump"),
        (ThingType("pump"), candidate(), MISSING, UNKNOWN, "there is no such thing, so nobody knows its type"),
        (ThingAttribute("site", "berlin-2"), candidate(), PUMP, YES, "site is 'berlin-2'"),
        (ThingAttribute("site", glob=Pattern("berlin-*")), candidate(), PUMP, YES, "site is 'berlin-2'"),
        (ThingAttribute("site", exists=False), candidate(), PUMP, NO, "site is 'berlin-2'"),
        (ThingAttribute("hold", exists=False), candidate(), PUMP, YES, "it has no attribute hold"),
        (ThingAttribute("hold", "x"), candidate(), PUMP, NO, "it has no attribute hold"),
        (
            ThingAttribute("hold", exists=False),
            candidate(),
            MISSING,
            UNKNOWN,
            "there is no such thing, so nobody knows its attributes",
        ),
        (ThingGroup("g"), candidate(), IN_GROUP, YES, "among the 1 things of the answer"),
        (ThingGroup("g"), candidate("b"), IN_GROUP, NO, "not among the 1 things of the answer"),
        (ThingGroup("g", recursive=False), candidate(), IN_GROUP, UNKNOWN, "it was not asked"),
        (ThingGroup("g"), candidate(), FAILED, UNKNOWN, "cannot be listed"),
        (IndexQuery("q"), candidate(), IN_INDEX, YES, "among the 1 things of the answer"),
        (IndexQuery("q2"), candidate(), IN_INDEX, UNKNOWN, "it was not asked"),
    ],
)
def test_condition(condition: Condition, one: Candidate, known: Facts, answer: Ternary, because: str) -> None:
    """A condition says yes or no only where it is known, and what its answer rests on."""
    assert condition.evaluate(one, known, NOW) is answer
    assert condition.explain(one, known, NOW) == because
