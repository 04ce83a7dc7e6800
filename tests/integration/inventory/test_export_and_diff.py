"""Rule: what a snapshot becomes as a list, and what two of them have different, is tested here."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.errors import SnapshotError, UsageError
from asyncgg.inventory import AssociationRecord, Origin, Snapshot
from asyncgg.inventory.diff import DiffCounts, SnapshotDiff, incompatibilities
from asyncgg.inventory.export import COLUMNS, export, export_format
from asyncgg.manifest import open_manifest
from asyncgg.models import ErrorResponse
from asyncgg.simulator import FleetSpec
from asyncgg.testing import run_virtual
from tests.support.scan import ScanHarness, fleet_of_sizes

DENIED = ErrorResponse(403, "AccessDeniedException", "no")


def make_snapshot(path: Path, plan: FleetSpec, *, denied: str = "", **options: object) -> Path:
    """A finished snapshot of a fleet."""

    async def run_scan() -> None:
        harness = ScanHarness(path, plan)
        harness.transport.intercept = lambda core, token: DENIED if denied and core == denied else None
        await harness.start(**options)  # type: ignore[arg-type]  # what a test gives goes to the sweep

    run_virtual(run_scan())
    return path


# --- export ---


@pytest.mark.parametrize("name", ["fleet.csv", "fleet.csv.gz", "fleet.jsonl", "fleet.parquet"])
def test_an_export_is_a_manifest(tmp_path: Path, name: str) -> None:
    """Every association is a row whose core and thing the manifest reader takes; further columns do not disturb it."""
    path, plan = make_snapshot(tmp_path / "fleet.db", fleet_of_sizes([3, 0, 120])), fleet_of_sizes([3, 0, 120])
    with Snapshot(path) as snapshot:
        assert export(snapshot, tmp_path / name) == 123
    with open_manifest(str(tmp_path / name)) as manifest:
        chunks = list(manifest.chunks())
    assert not any(chunk.bad for chunk in chunks)
    assert [pair for chunk in chunks for pair in chunk.good] == list(plan.pairs())


def test_the_columns_of_an_export(tmp_path: Path) -> None:
    """Times are ISO 8601 in UTC, in every format the same; what is not known is empty."""
    path = make_snapshot(tmp_path / "fleet.db", FleetSpec.from_things({"a": ["x"]}, now=1_700_000_000.25))
    when = "2023-11-14T22:13:20.250Z"
    with Snapshot(path) as snapshot:
        for name in ("x.csv", "x.jsonl", "x.csv.gz", "x.parquet"):
            export(snapshot, tmp_path / name)
    expected = f"{','.join(COLUMNS)}\na,x,{when},HEALTHY,{when}\n"
    assert (
        (tmp_path / "x.csv").read_text() == gzip.decompress((tmp_path / "x.csv.gz").read_bytes()).decode() == expected
    )
    assert json.loads((tmp_path / "x.jsonl").read_text()) == dict(
        zip(COLUMNS, ["a", "x", when, "HEALTHY", when], strict=True)
    )
    parquet = pytest.importorskip("pyarrow.parquet")
    (row,) = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert row["associated_at"].isoformat() == "2023-11-14T22:13:20.250000+00:00"


def test_export_formats() -> None:
    """The ending decides; what is no list's ending means a snapshot."""
    names = ["a.csv", "a.CSV.gz", "a.jsonl", "a.ndjson", "a.parquet", "a.db", "a"]
    assert [export_format(Path(name)) for name in names] == ["csv", "csv", "jsonl", "jsonl", "parquet", None, None]
    with pytest.raises(UsageError, match=r"use the suffix \.parquet"):
        export_format(Path("a.parquet.gz"))


def test_an_export_never_overwrites_its_snapshot(tmp_path: Path) -> None:
    """Not even by another name."""
    path = make_snapshot(tmp_path / "fleet.db", fleet_of_sizes([1]))
    (tmp_path / "link.csv").symlink_to(path)
    with Snapshot(path) as snapshot, pytest.raises(UsageError, match="that would overwrite the snapshot"):
        export(snapshot, tmp_path / "link.csv")


# --- difference ---

Cores = dict[str, set[str]]
fleets = st.dictionaries(st.sampled_from("abcd"), st.sets(st.sampled_from("uvwxyz")))


@settings(max_examples=15, deadline=None)
@given(before=fleets, after=fleets, lost=st.sampled_from(["", "a", "b"]))
def test_the_difference_is_that_of_the_sets(before: Cores, after: Cores, lost: str) -> None:
    """What appeared and what vanished, of cores and of associations, is what the sets say; a core that could not be
    listed in the new one is left out, and told."""
    with tempfile.TemporaryDirectory() as folder:
        old = make_snapshot(Path(folder) / "old.db", FleetSpec.from_things(before))
        new = make_snapshot(Path(folder) / "new.db", FleetSpec.from_things(after), denied=lost)
        unknown = {lost} & after.keys()
        if unknown == after.keys() and unknown:
            return  # denied everywhere: such a sweep is not finished, and not compared
        one = {(core, thing) for core, things in before.items() if core not in unknown for thing in things}
        other = {(core, thing) for core, things in after.items() if core not in unknown for thing in things}
        with SnapshotDiff(old, new) as difference:
            assert sorted(difference.cores_appeared()) == sorted(after.keys() - before.keys())
            assert sorted(difference.cores_vanished()) == sorted(before.keys() - after.keys())
            assert sorted(pair[:2] for pair in difference.appeared()) == sorted(other - one)
            assert sorted(pair[:2] for pair in difference.vanished()) == sorted(one - other)
            assert list(difference.not_compared()) == sorted(unknown)
            assert difference.counts() == DiffCounts(
                len(after.keys() - before.keys()),
                len(before.keys() - after.keys()),
                len(other - one),
                len(one - other),
                len(unknown),
            )


def test_a_core_that_vanished_in_the_sweep_is_gone(tmp_path: Path) -> None:
    """It was told by the list of cores and not known any more when it was to be listed: it has vanished, and so has
    what it had."""
    old = make_snapshot(tmp_path / "old.db", fleet_of_sizes({"a": 1, "b": 1}))
    new = make_snapshot(tmp_path / "new.db", fleet_of_sizes({"a": 1}), cores=["a", "b"])
    with SnapshotDiff(old, new) as difference:
        assert list(difference.cores_vanished()) == ["b"]
        assert list(difference.vanished()) == [AssociationRecord("b", "b-0000", 7.0)]


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    """Different accounts, Regions, filters and named cores are told; an unknown account is no difference."""
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


def test_an_unfinished_snapshot_is_not_compared(tmp_path: Path) -> None:
    """A part of a fleet would show the rest as vanished."""
    old = make_snapshot(tmp_path / "old.db", fleet_of_sizes([1, 1, 1]))

    async def part() -> None:
        harness = ScanHarness(tmp_path / "new.db", fleet_of_sizes([1, 1, 1]))
        harness.transport.intercept = lambda core, token: DENIED
        await harness.start()

    run_virtual(part())
    with pytest.raises(SnapshotError, match=r"new\.db contains an unfinished scan"):
        SnapshotDiff(old, tmp_path / "new.db")
