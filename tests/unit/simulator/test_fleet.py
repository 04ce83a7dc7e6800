"""Rule: how a fleet is invented, changed and listed page by page."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from asyncgg.models import invalid_name_reason
from asyncgg.simulator import Fleet, FleetSpec
from asyncgg.simulator.fleet import core_sizes, generate_fleet


@given(
    cores=st.integers(1, 40),
    things=st.integers(0, 30),
    size_skew=st.floats(0.0, 3.0),
    seed=st.integers(0, 99),
    ghosts=st.integers(0, 20),
    ghost_cores=st.integers(0, 5),
)
def test_a_fleet_has_what_was_asked_for(
    cores: int, things: int, size_skew: float, seed: int, ghosts: int, ghost_cores: int
) -> None:
    """Sizes add up, names are good and unique, and what is missing is in the manifest but not in the fleet."""
    plan = generate_fleet(
        cores, things, size_skew=size_skew, seed=seed, missing_things=ghosts, missing_cores=ghost_cores, now=1e9
    )
    fleet, pairs = Fleet(plan), list(plan.pairs())
    assert len(fleet.cores) == cores
    assert len(fleet) == cores * things
    assert len({thing for _, thing in pairs}) == len(pairs)
    assert not any(invalid_name_reason(name) for pair in pairs for name in pair)
    nowhere = [thing for core, thing in pairs if core in fleet.cores and thing not in fleet.things[core]]
    assert len(nowhere) == ghosts
    assert len({core for core, _ in pairs} - fleet.cores.keys()) == ghost_cores
    assert all(core.last_status_update <= 1e9 for core in plan.cores)


def test_the_same_seed_gives_the_same_fleet() -> None:
    """A plan is a function of its numbers."""
    first, second, other = (generate_fleet(30, 5, size_skew=1.0, seed=seed, now=5.0) for seed in (3, 3, 4))
    assert first == second != other


def test_skew_makes_few_cores_large() -> None:
    """With skew the largest core holds far more than the average, and none is empty."""
    sizes = core_sizes(100, 100, 1.0, random.Random(1))
    assert sum(sizes) == 10_000
    assert max(sizes) > 1000
    assert min(sizes) >= 1


def test_disassociate_and_associate() -> None:
    """A change is made once; what is not there is told; names the plan calls missing are no things."""
    plan = FleetSpec.from_things({"c": ["a"]}, now=1.0)
    fleet = Fleet(FleetSpec(plan.cores, plan.things, {"c": ("ghost",)}))
    assert fleet.disassociate("c", "a")
    assert not fleet.disassociate("c", "a")
    assert fleet.associate("c", "a", 2.0)
    assert fleet.associate("c", "a", 3.0)
    assert fleet.things == {"c": {"a": 2.0}}
    assert not fleet.associate("c", "ghost", 2.0)


def test_the_plan_outlives_the_changes() -> None:
    """Changes touch the fleet, never the plan it can be made from again."""
    plan = FleetSpec.from_things({"c": ["a"]})
    Fleet(plan).disassociate("c", "a")
    assert list(plan.pairs()) == [("c", "a")]


@given(
    names=st.sets(st.text("abc:_-", min_size=1, max_size=4), max_size=30),
    limit=st.integers(1, 7),
    gone=st.sets(st.integers(0, 29)),
)
def test_pages_hold_everything_once_while_things_leave(names: set[str], limit: int, gone: set[int]) -> None:
    """All that stays is listed exactly once, in order, though things leave between two pages."""
    fleet = Fleet(FleetSpec.from_things({"c": names}))
    leaving = {name for index, name in enumerate(sorted(names)) if index in gone}
    listed: list[str] = []
    after, has_more = "", True
    while has_more:
        page, has_more = fleet.page_of_things("c", after, limit)
        listed += [name for name, _ in page]
        after = listed[-1] if listed else ""
        for name in sorted(leaving)[:1]:
            fleet.disassociate("c", name)
            leaving.discard(name)
    assert listed == sorted(set(listed))
    assert set(fleet.things["c"]) <= set(listed) <= names


def test_cores_are_filtered() -> None:
    """Status, runtime and group narrow the list, and the pages of the narrowed list are full."""
    plan = generate_fleet(300, 0, seed=1)
    fleet = Fleet(plan)
    for filters, expected in (
        ({"status": "UNHEALTHY"}, [core.name for core in plan.cores if core.status == "UNHEALTHY"]),
        ({"runtime": "aws_nucleus_lite"}, [core.name for core in plan.cores if core.runtime == "aws_nucleus_lite"]),
        ({"group": "site-2"}, [core.name for core in plan.cores if "site-2" in core.groups]),
    ):
        assert expected
        first, has_more = fleet.page_of_cores("", 10, **filters)
        rest, last = fleet.page_of_cores(first[-1].name, 1000, **filters)
        assert [core.name for core in [*first, *rest]] == sorted(expected)
        assert has_more is (len(expected) > 10)
        assert not last
