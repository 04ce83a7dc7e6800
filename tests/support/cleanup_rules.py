"""Shared helpers of clean-up tests: candidates, policies, a fake registry, strategies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st

from asyncgg.cleanup.policy.loader import check_policy
from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.rules.base import Api, Candidate, Facts, QueryFailed, SetQuery, ThingDescription
from asyncgg.cleanup.rules.conditions import (
    AssociatedBefore,
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
from asyncgg.cleanup.rules.expression import AllOf, AnyOf, Node, Not, Rule
from asyncgg.manifest import ProtectList
from asyncgg.models import CoreDevice

T = TypeVar("T")

NOW = 1_800_000_000.0
DAY = 86400.0
THINGS = ("a1", "a2", "b1", "b2")
QUERY_FAILED = QueryFailed("it failed")
LIMIT = "[guards]\nmax-things = 5\n"
"""Keeps policies from having the warning about missing limits."""


def candidate(
    thing: str = "a1",
    core: str = "core-1",
    *,
    status: str = "HEALTHY",
    offline_for: float | None = DAY,
    age: float | None = DAY,
) -> Candidate:
    """A candidate; `offline_for` and `age` in seconds before NOW."""
    device = CoreDevice(core, status, None if offline_for is None else NOW - offline_for)
    return Candidate(device, thing, None if age is None else NOW - age)


def make_policy(*rules: Node, protect: Iterable[str] = ()) -> Policy:
    """A policy with these rules, with ids r1, r2 and so on."""
    named = tuple(Rule(f"r{number}", rule) for number, rule in enumerate(rules, 1))
    return Policy(path=Path("policy.toml"), name="policy", rules=named, protect=ProtectList(tuple(protect)))


def write_policy(folder: Path, text: str) -> Path:
    """Write a policy file."""
    path = folder / "nightly.toml"
    path.write_text(text, encoding="utf-8")
    return path


def error_lines(folder: Path, text: str) -> list[str]:
    """The errors of a policy, without the file name."""
    return [error.format("")[1:].lstrip() for error in check_policy(write_policy(folder, text)).errors]


def warning_lines(folder: Path, rule: str) -> list[str]:
    """The warnings of a valid policy with one rule and a limit."""
    check = check_policy(write_policy(folder, f"{LIMIT}[[rule]]\n{rule}\n"))
    assert check.errors == ()
    return [warning.format("")[1:] for warning in check.warnings]


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


@dataclass
class FakeRegistry:
    """A registry of plain values that records lookups; those for which `fails` is true fail."""

    things: Mapping[str, ThingDescription] = field(default_factory=dict)
    groups: Mapping[str, Iterable[str]] = field(default_factory=dict)
    queries: Mapping[str, Iterable[str]] = field(default_factory=dict)
    fails: Callable[[str], bool] = lambda subject: False
    queries_made: list[str] = field(default_factory=list)

    async def describe_thing(self, thing: str) -> ThingDescription | QueryFailed:
        """Look up one thing."""
        self.queries_made.append(thing)
        return QUERY_FAILED if self.fails(thing) else self.things.get(thing, ThingDescription(exists=False))

    async def list_group(self, group: str, recursive: bool) -> frozenset[str] | QueryFailed:
        """List one group."""
        self.queries_made.append(f"group {group}")
        return QUERY_FAILED if self.fails(group) else frozenset(self.groups.get(group, ()))

    async def search_index(self, query: str) -> frozenset[str] | QueryFailed:
        """Run one query."""
        self.queries_made.append(f"query {query}")
        return QUERY_FAILED if self.fails(query) else frozenset(self.queries.get(query, ()))

    def all_facts(self, lists: Mapping[str, frozenset[str]]) -> Facts:
        """The results of all lookups."""
        sets: dict[SetQuery, frozenset[str] | QueryFailed] = {}
        for group, names in self.groups.items():
            set_query = SetQuery(Api.LIST_THINGS_IN_THING_GROUP, group, recursive=True)
            sets[set_query] = QUERY_FAILED if self.fails(group) else frozenset(names)
        for query, names in self.queries.items():
            sets[SetQuery(Api.SEARCH_INDEX, query)] = QUERY_FAILED if self.fails(query) else frozenset(names)
        things: dict[str, ThingDescription | QueryFailed] = {
            thing: QUERY_FAILED if self.fails(thing) else self.things.get(thing, ThingDescription(exists=False))
            for thing in THINGS
        }
        return Facts(lists, sets, things)


conditions: st.SearchStrategy[Node] = st.sampled_from(
    [
        ThingName(Pattern("a*")),
        ThingName(Pattern(".1", regex=True)),
        AssociatedBefore(age=10 * DAY, text="10d"),
        CoreStatus("UNHEALTHY"),
        NotIn("keep.txt"),
        ThingMissing(),
        ThingType("pump"),
        ThingAttribute("site", equals="x"),
        ThingAttribute("site", exists=False),
        ThingGroup("g"),
        ThingGroup("h"),
        IndexQuery("q"),
    ]
)
trees: st.SearchStrategy[Node] = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AllOf(tuple(rules))),
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AnyOf(tuple(rules))),
        inner.map(Not),
    ),
    max_leaves=8,
)
candidates = st.builds(
    candidate,
    st.sampled_from(THINGS),
    st.sampled_from(["core-1", "core-2"]),
    status=st.sampled_from(["HEALTHY", "UNHEALTHY", ""]),
    age=st.sampled_from([None, DAY, 20 * DAY]),
)
subsets = st.frozensets(st.sampled_from(THINGS))
descriptions = st.builds(
    ThingDescription, st.booleans(), st.sampled_from(["", "pump"]), st.sampled_from([{}, {"site": "x"}, {"site": "y"}])
)


@st.composite
def registries(draw: st.DrawFn) -> FakeRegistry:
    """A registry without failures."""
    return FakeRegistry(
        draw(st.fixed_dictionaries(dict.fromkeys(THINGS, descriptions))),
        {"g": draw(subsets), "h": draw(subsets)},
        {"q": draw(subsets)},
    )


lists = st.fixed_dictionaries({"keep.txt": subsets})
failing = st.frozensets(st.sampled_from([*THINGS, "g", "h", "q"]))
