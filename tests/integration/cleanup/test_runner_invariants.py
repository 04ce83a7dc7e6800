"""Properties of every policy run, for generated fleets, faults and policies."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cleanup_harness import DAY, AssociationFact, CleanupHarness, read_decisions

pytestmark = pytest.mark.usefixtures("no_fsync")

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
def fleets(draw: st.DrawFn) -> tuple[list[AssociationFact], set[str]]:
    """A fleet with the expected result of each association, and the things whose lookups fail."""
    facts, failing = [], set()
    for core in draw(
        st.lists(st.sampled_from(["core-a", "core-b", "core-protected", "other"]), min_size=1, unique=True)
    ):
        for number in range(draw(st.integers(1, 6))):
            precious, hold = draw(st.booleans()) and number % 2 == 0, draw(st.booleans())
            name = f"{'precious-' if precious else 'hold-' if hold else ''}{core}-{number}"
            registered, retired, old = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
            lookup_fails = draw(st.integers(0, 5)) == 0
            if lookup_fails:
                failing.add(name)
            orphan = not registered and old and not retired and not lookup_fails
            named_hold = name.startswith("hold-")
            is_expected = core in {"core-a", "core-b"} and not precious and (orphan or (retired and not named_hold))
            facts.append(AssociationFact(core, name, is_expected, registered, retired, (30 if old else 1) * DAY))
    return facts, failing


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fleets(), st.sampled_from([None, "500=20%", "reset-after=20%", "429=20%", "garbage=20%"]), st.booleans())
def test_run_removes_expected_things_under_faults(
    fleet: tuple[list[AssociationFact], set[str]], fault: str | None, canary: bool
) -> None:
    """Exactly the expected things are sent and removed, under faults as well."""
    facts, failing = fleet
    guards = f'[guards]\nprotect-names = ["precious-*", "core:core-protected"]\n{"canary = 2" if canary else ""}\n'
    with tempfile.TemporaryDirectory() as folder:
        harness = CleanupHarness(Path(folder), facts=facts, rules=POLICY, guards=guards)
        harness.registry.fails = failing.__contains__
        harness.step_hooks["send", 1] = lambda: harness.service.set_faults([fault] if fault else [])
        report = harness.run_sync(max_attempts=1000)
        assert report.exit in {0, 3}, report.reason
        assert harness.removed == harness.expected
        assert report.run_dir is not None
        decisions_by_pair = read_decisions(report.run_dir)
        assert set(decisions_by_pair) == harness.all_pairs
        assert {pair for pair, (verdict, _) in decisions_by_pair.items() if verdict == "selected"} == harness.expected
        assert {(core, thing) for core, thing, _ in harness.sent()} == harness.expected
