"""The result and explanation of each condition."""

from __future__ import annotations

import pytest

from asyncgg.cleanup.rules.base import (
    Api,
    Candidate,
    Condition,
    Facts,
    QueryFailed,
    SetQuery,
    Ternary,
    ThingDescription,
)
from asyncgg.cleanup.rules.conditions import (
    AssociatedBefore,
    CoreOfflineFor,
    CoreStatus,
    IndexQuery,
    NotIn,
    Pattern,
    ThingAttribute,
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
    ("condition", "item", "facts", "result", "explanation"),
    [
        (ThingName(Pattern("a?")), candidate("a1"), Facts(), YES, "the name is a1"),
        (ThingName(Pattern("A?")), candidate("a1"), Facts(), NO, "the name is a1"),
        (ThingName(Pattern("a", regex=True)), candidate("a1"), Facts(), NO, "the name is a1"),
        (AssociatedBefore(age=DAY), candidate(age=DAY + 1), Facts(), YES, "associated 2027-01-14, 1.0 days ago"),
        (AssociatedBefore(age=DAY), candidate(age=DAY), Facts(), NO, "associated 2027-01-14, 1.0 days ago"),
        (AssociatedBefore(age=DAY), candidate(age=None), Facts(), UNKNOWN, "the listing has no association time"),
        (AssociatedBefore(age=DAY), candidate(age=-DAY), Facts(), NO, "associated 2027-01-16, in the future"),
        (
            AssociatedBefore(before=NOW - DAY),
            candidate(age=2 * DAY),
            Facts(),
            YES,
            "associated 2027-01-13, 2.0 days ago",
        ),
        (CoreStatus("UNHEALTHY"), candidate(status="UNHEALTHY"), Facts(), YES, "the core is UNHEALTHY"),
        (CoreStatus("UNHEALTHY"), candidate(), Facts(), NO, "the core is HEALTHY"),
        (CoreStatus("UNHEALTHY"), candidate(status=""), Facts(), UNKNOWN, "the listing has no status of the core"),
        (CoreOfflineFor(DAY), candidate(offline_for=DAY + 1), Facts(), YES, "last status 2027-01-14, 1.0 days ago"),
        (CoreOfflineFor(DAY), candidate(offline_for=-1), Facts(), NO, "last status 2027-01-15, in the future"),
        (
            CoreOfflineFor(DAY),
            candidate(offline_for=None),
            Facts(),
            UNKNOWN,
            "the listing has no time of the core's last status",
        ),
        (NotIn("k"), candidate(), Facts(lists={"k": frozenset({"b"})}), YES, "is not in k (1 name)"),
        (NotIn("k"), candidate(), Facts(lists={"k": frozenset({"a1"})}), NO, "is in k (1 name)"),
        (NotIn("k"), candidate(), Facts(), UNKNOWN, "k not read"),
        (ThingMissing(), candidate(), MISSING, YES, "the thing does not exist"),
        (ThingMissing(), candidate(), PUMP, NO, "the thing exists"),
        (ThingMissing(), candidate(), Facts(), UNKNOWN, "not looked up"),
        (ThingMissing(), candidate(), FAILED, UNKNOWN, "DescribeThing: it failed"),
        (ThingType("pump"), candidate(), PUMP, YES, "the type is pump"),
        (ThingType("valve"), candidate(), PUMP, NO, "the type is pump"),
        (ThingType("pump"), candidate(), MISSING, UNKNOWN, "the thing does not exist, so its type is unknown"),
        (ThingAttribute("site", "berlin-2"), candidate(), PUMP, YES, "site is 'berlin-2'"),
        (ThingAttribute("site", glob=Pattern("berlin-*")), candidate(), PUMP, YES, "site is 'berlin-2'"),
        (ThingAttribute("site", exists=False), candidate(), PUMP, NO, "site is 'berlin-2'"),
        (ThingAttribute("hold", exists=False), candidate(), PUMP, YES, "the thing has no attribute hold"),
        (ThingAttribute("hold", "x"), candidate(), PUMP, NO, "the thing has no attribute hold"),
        (
            ThingAttribute("hold", exists=False),
            candidate(),
            MISSING,
            UNKNOWN,
            "the thing does not exist, so its attributes are unknown",
        ),
        (ThingGroup("g"), candidate(), IN_GROUP, YES, "in the result (1 thing)"),
        (ThingGroup("g"), candidate("b"), IN_GROUP, NO, "not in the result (1 thing)"),
        (ThingGroup("g", recursive=False), candidate(), IN_GROUP, UNKNOWN, "not looked up"),
        (ThingGroup("g"), candidate(), FAILED, UNKNOWN, "cannot be listed"),
        (IndexQuery("q"), candidate(), IN_INDEX, YES, "in the result (1 thing)"),
        (IndexQuery("q2"), candidate(), IN_INDEX, UNKNOWN, "not looked up"),
    ],
)
def test_condition(condition: Condition, item: Candidate, facts: Facts, result: Ternary, explanation: str) -> None:
    """A condition is yes or no only if its fact is known, and explains its result."""
    assert condition.evaluate(item, facts, NOW) is result
    assert condition.explain(item, facts, NOW) == explanation
