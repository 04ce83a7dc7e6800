"""Exports of a snapshot as CSV, JSONL and Parquet."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.inventory import Snapshot
from asyncgg.inventory.export import COLUMNS, export
from asyncgg.manifest import open_manifest
from asyncgg.simulator import FleetSpec
from asyncgg.tables import table_format
from tests.support.scan import fleet_of_sizes, make_snapshot


@pytest.mark.parametrize("name", ["fleet.csv", "fleet.csv.gz", "fleet.jsonl", "fleet.parquet"])
def test_export_is_a_manifest(tmp_path: Path, name: str) -> None:
    """The manifest reader accepts every row."""
    path, plan = make_snapshot(tmp_path / "fleet.db", fleet_of_sizes([3, 0, 120])), fleet_of_sizes([3, 0, 120])
    with Snapshot(path) as snapshot:
        assert export(snapshot, tmp_path / name) == 123
    with open_manifest(str(tmp_path / name)) as manifest:
        chunks = list(manifest.chunks())
    assert not any(chunk.bad for chunk in chunks)
    assert [pair for chunk in chunks for pair in chunk.good] == list(plan.pairs())


def test_export_columns(tmp_path: Path) -> None:
    """Times are ISO 8601 in UTC, the same in every format."""
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


def test_table_format_by_suffix() -> None:
    """An unknown suffix means a snapshot."""
    names = ["a.csv", "a.CSV.gz", "a.jsonl", "a.ndjson", "a.parquet", "a.db", "a"]
    assert [table_format(Path(name)) for name in names] == ["csv", "csv", "jsonl", "jsonl", "parquet", None, None]
    with pytest.raises(UsageError, match=r"use the suffix \.parquet"):
        table_format(Path("a.parquet.gz"))


def test_export_over_its_snapshot_fails(tmp_path: Path) -> None:
    """Also through a symbolic link."""
    path = make_snapshot(tmp_path / "fleet.db", fleet_of_sizes([1]))
    (tmp_path / "link.csv").symlink_to(path)
    with Snapshot(path) as snapshot, pytest.raises(UsageError, match="would overwrite the snapshot"):
        export(snapshot, tmp_path / "link.csv")
