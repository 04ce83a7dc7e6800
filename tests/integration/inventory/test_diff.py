"""The comparison of two snapshots."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.errors import SnapshotError
from asyncgg.inventory import AssociationRecord, Origin, Snapshot
from asyncgg.inventory.diff import DiffCounts, SnapshotDiff, incompatibilities
from asyncgg.simulator import FleetSpec
from asyncgg.testing import run_virtual
from tests.support.scan import DENIED, ScanHarness, fleet_of_sizes, make_snapshot

Cores = dict[str, set[str]]
fleets = st.dictionaries(st.sampled_from("abcd"), st.sets(st.sampled_from("uvwxyz")))


@settings(max_examples=15, deadline=None)
@given(before=fleets, after=fleets, denied=st.sampled_from(["", "a", "b"]))
def test_diff_equals_difference_of_sets(before: Cores, after: Cores, denied: str) -> None:
    """Cores and associations that appeared or vanished; unlisted cores are excluded."""
    with tempfile.TemporaryDirectory() as folder:
        old = make_snapshot(Path(folder) / "old.db", FleetSpec.from_things(before))
        new = make_snapshot(Path(folder) / "new.db", FleetSpec.from_things(after), denied=denied)
        unknown = {denied} & after.keys()
        if unknown == after.keys() and unknown:
            return  # all cores denied: the scan is unfinished and cannot be compared
        old_pairs = {(core, thing) for core, things in before.items() if core not in unknown for thing in things}
        new_pairs = {(core, thing) for core, things in after.items() if core not in unknown for thing in things}
        with SnapshotDiff(old, new) as diff:
            assert sorted(diff.cores_appeared()) == sorted(after.keys() - before.keys())
            assert sorted(diff.cores_vanished()) == sorted(before.keys() - after.keys())
            assert sorted(pair[:2] for pair in diff.appeared()) == sorted(new_pairs - old_pairs)
            assert sorted(pair[:2] for pair in diff.vanished()) == sorted(old_pairs - new_pairs)
            assert list(diff.not_compared()) == sorted(unknown)
            assert diff.counts() == DiffCounts(
                len(after.keys() - before.keys()),
                len(before.keys() - after.keys()),
                len(new_pairs - old_pairs),
                len(old_pairs - new_pairs),
                len(unknown),
            )


def test_diff_core_vanished_during_scan(tmp_path: Path) -> None:
    """A core that vanished during the second scan has vanished with its associations."""
    old = make_snapshot(tmp_path / "old.db", fleet_of_sizes({"a": 1, "b": 1}))
    new = make_snapshot(tmp_path / "new.db", fleet_of_sizes({"a": 1}), cores=["a", "b"])
    with SnapshotDiff(old, new) as diff:
        assert list(diff.cores_vanished()) == ["b"]
        assert list(diff.vanished()) == [AssociationRecord("b", "b-0000", 7.0)]


def test_incompatibilities_of_different_scans(tmp_path: Path) -> None:
    """Different accounts, Regions and named cores are reported; an unknown account is not."""
    here = Origin("1" * 12, "eu-west-1", "https://x")
    old = make_snapshot(tmp_path / "old.db", fleet_of_sizes([1]), origin=here)
    same = make_snapshot(tmp_path / "same.db", fleet_of_sizes([1]), origin=Origin("", here.region, here.endpoint))
    other = make_snapshot(
        tmp_path / "other.db",
        fleet_of_sizes([1]),
        origin=Origin("2" * 12, "us-east-1", "https://x"),
        cores=["core-000"],
    )
    with Snapshot(old) as one, Snapshot(same) as two, Snapshot(other) as three:
        assert incompatibilities(one, two) == []
        assert incompatibilities(one, three) == [
            "different accounts: 111111111111 (old), 222222222222 (new)",
            "different regions: eu-west-1 (old), us-east-1 (new)",
            "only named cores were listed",
        ]


def test_diff_unfinished_snapshot_fails(tmp_path: Path) -> None:
    """An unfinished snapshot would show the rest of the fleet as vanished."""
    old = make_snapshot(tmp_path / "old.db", fleet_of_sizes([1, 1, 1]))

    async def run_scan() -> None:
        harness = ScanHarness(tmp_path / "new.db", fleet_of_sizes([1, 1, 1]))
        harness.transport.intercept = lambda core, token: DENIED
        await harness.start()

    run_virtual(run_scan())
    with pytest.raises(SnapshotError, match=r"new\.db contains an unfinished scan"):
        SnapshotDiff(old, tmp_path / "new.db")
