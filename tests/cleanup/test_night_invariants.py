"""Rule: what holds of every night, whatever the fleet, the faults and the policy, lives here, by hypothesis."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cleanup.nightly import DAY, Fact, House, decisions

pytestmark = pytest.mark.usefixtures("unsynced")

POLICY = """
[[rule]]
id = "orphan"
all = [{ thing-missing = true }, { associated-before = "7d" }, { not = { thing-group = "retired" } }]

[[rule]]
id = "retired"
thing-group = "retired"
not = { name = "hold-*" }

[sources]
name = "core-*"
"""


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Fact], set[str]]:
    """A fleet, each association with what must become of it, worked out from its facts alone; and unanswered things."""
    known, unanswered = [], set()
    for core in draw(st.lists(st.sampled_from(["core-a", "core-b", "core-holy", "other"]), min_size=1, unique=True)):
        for number in range(draw(st.integers(1, 6))):
            precious, hold = draw(st.booleans()) and number % 2 == 0, draw(st.booleans())
            name = f"{'precious-' if precious else 'hold-' if hold else ''}{core}-{number}"
            registered, retired, old = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
            silent = draw(st.integers(0, 5)) == 0
            if silent:
                unanswered.add(name)
            orphan = not registered and old and not retired and not silent
            named_hold = name.startswith("hold-")
            goes = core in {"core-a", "core-b"} and not precious and (orphan or (retired and not named_hold))
            known.append(Fact(core, name, goes, registered, retired, (30 if old else 1) * DAY))
    return known, unanswered


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fleets(), st.sampled_from([None, "500=20%", "reset-after=20%", "429=20%", "garbage=20%"]), st.booleans())
def test_what_the_facts_say_goes(fleet: tuple[list[Fact], set[str]], fault: str | None, canary: bool) -> None:
    """The set removed is the set a plain oracle selects, under faults as well; nothing else is ever even sent."""
    known, unanswered = fleet
    guards = f'[guards]\nprotect-names = ["precious-*", "core:core-holy"]\n{"canary = 2" if canary else ""}\n'
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), known=known, rules=POLICY, guards=guards)
        house.registry.fails = unanswered.__contains__
        house.on["send", 1] = lambda: house.service.set_faults([fault] if fault else [])
        report = house.start(max_attempts=1000)
        assert report.exit in {0, 3}, report.reason
        assert house.gone == house.goes
        assert report.run_dir is not None
        told = decisions(report.run_dir)
        assert set(told) == house.all
        assert {pair for pair, (verdict, _) in told.items() if verdict == "selected"} == house.goes
        assert {(core, thing) for core, thing, _ in house.sent()} == house.goes
