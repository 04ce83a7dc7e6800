"""Tests of asyncgg.simulator.fleet."""

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
    missing_things=st.integers(0, 20),
    missing_cores=st.integers(0, 5),
)
def test_generate_fleet_has_requested_numbers(
    cores: int, things: int, size_skew: float, seed: int, missing_things: int, missing_cores: int
) -> None:
    """Names are valid and unique; missing things and cores are only in the manifest."""
    spec = generate_fleet(
        cores,
        things,
        size_skew=size_skew,
        seed=seed,
        missing_things=missing_things,
        missing_cores=missing_cores,
        now=1e9,
    )
    fleet, pairs = Fleet(spec), list(spec.pairs())
    assert len(fleet.cores) == cores
    assert len(fleet) == cores * things
    assert len({thing for _, thing in pairs}) == len(pairs)
    assert not any(invalid_name_reason(name) for pair in pairs for name in pair)
    missing = [thing for core, thing in pairs if core in fleet.cores and thing not in fleet.things[core]]
    assert len(missing) == missing_things
    assert len({core for core, _ in pairs} - fleet.cores.keys()) == missing_cores
    assert all(core.last_status_update <= 1e9 for core in spec.cores)


def test_generate_fleet_same_seed_gives_same_fleet() -> None:
    """The fleet depends on the arguments only."""
    first, second, other = (generate_fleet(30, 5, size_skew=1.0, seed=seed, now=5.0) for seed in (3, 3, 4))
    assert first == second != other


def test_core_sizes_with_skew_has_few_large_cores() -> None:
    """The largest core is far above the average, and no core is empty."""
    sizes = core_sizes(100, 100, 1.0, random.Random(1))
    assert sum(sizes) == 10_000
    assert max(sizes) > 1000
    assert min(sizes) >= 1


def test_disassociate_and_associate_return_success() -> None:
    """A missing association cannot be removed, and a missing thing cannot be associated."""
    spec = FleetSpec.from_things({"c": ["a"]}, now=1.0)
    fleet = Fleet(FleetSpec(spec.cores, spec.things, {"c": ("ghost",)}))
    assert fleet.disassociate("c", "a")
    assert not fleet.disassociate("c", "a")
    assert fleet.associate("c", "a", 2.0)
    assert fleet.associate("c", "a", 3.0)
    assert fleet.things == {"c": {"a": 2.0}}
    assert not fleet.associate("c", "ghost", 2.0)


def test_spec_is_unchanged_by_fleet() -> None:
    """Changes of a fleet do not affect its spec."""
    spec = FleetSpec.from_things({"c": ["a"]})
    Fleet(spec).disassociate("c", "a")
    assert list(spec.pairs()) == [("c", "a")]


@given(
    names=st.sets(st.text("abc:_-", min_size=1, max_size=4), max_size=30),
    limit=st.integers(1, 7),
    removed_indexes=st.sets(st.integers(0, 29)),
)
def test_page_of_things_during_removals_lists_remaining_once(
    names: set[str], limit: int, removed_indexes: set[int]
) -> None:
    """Remaining things are listed once and in order, even if others are removed in between."""
    fleet = Fleet(FleetSpec.from_things({"c": names}))
    to_remove = {name for index, name in enumerate(sorted(names)) if index in removed_indexes}
    listed: list[str] = []
    after, has_more = "", True
    while has_more:
        page, has_more = fleet.page_of_things("c", after, limit)
        listed += [name for name, _ in page]
        after = listed[-1] if listed else ""
        for name in sorted(to_remove)[:1]:
            fleet.disassociate("c", name)
            to_remove.discard(name)
    assert listed == sorted(set(listed))
    assert set(fleet.things["c"]) <= set(listed) <= names


def test_page_of_cores_applies_filters() -> None:
    """Status, runtime and group filter the list, and the filtered pages are full."""
    spec = generate_fleet(300, 0, seed=1)
    fleet = Fleet(spec)
    for filters, expected in (
        ({"status": "UNHEALTHY"}, [core.name for core in spec.cores if core.status == "UNHEALTHY"]),
        ({"runtime": "aws_nucleus_lite"}, [core.name for core in spec.cores if core.runtime == "aws_nucleus_lite"]),
        ({"group": "site-2"}, [core.name for core in spec.cores if "site-2" in core.groups]),
    ):
        assert expected
        first, has_more = fleet.page_of_cores("", 10, **filters)
        rest, last = fleet.page_of_cores(first[-1].name, 1000, **filters)
        assert [core.name for core in [*first, *rest]] == sorted(expected)
        assert has_more is (len(expected) > 10)
        assert not last
