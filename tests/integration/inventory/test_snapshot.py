"""Queries of a snapshot, and files that are not usable snapshots."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from asyncgg.errors import SnapshotError
from asyncgg.inventory import AssociationRecord, CoreState, Origin, Snapshot, schema
from asyncgg.journal import Importer
from asyncgg.models import CoreDevice, ErrorResponse
from asyncgg.simulator import FleetSpec
from tests.support.scan import ScanHarness

pytestmark = pytest.mark.virtual

PLAN = FleetSpec.from_things({"a": ["x", "y"], "b": ["x", "z"], "c": []}, now=7.0)
A_X, A_Y, B_X, B_Z = (AssociationRecord(core, thing, 7.0) for core, thing in ("ax", "ay", "bx", "bz"))


@pytest_asyncio.fixture
async def path(tmp_path: Path) -> Path:
    """A complete snapshot of PLAN, with a denied core d."""
    plan = FleetSpec.from_things({**PLAN.things, "d": ["w"]}, now=7.0)
    harness = ScanHarness(tmp_path / "fleet.db", plan)
    harness.transport.intercept = lambda core, token: (
        ErrorResponse(403, "AccessDeniedException", "no") if core == "d" else None
    )
    await harness.start(origin=Origin("123456789012", "eu-west-1", "https://x"))
    return harness.path


def test_snapshot_metadata_and_counts(path: Path) -> None:
    """Origin, times, counts and cores; the snapshot is one file."""
    with Snapshot(path) as snapshot:
        assert snapshot.origin == Origin("123456789012", "eu-west-1", "https://x")
        assert snapshot.started_at <= (snapshot.ended_at or 0) <= time.time()
        assert not snapshot.lists_named_cores_only
        counts = snapshot.counts()
        assert (counts.cores, counts.listed, counts.denied, counts.associations) == (4, 3, 1, 4)
        cores = list(snapshot.cores())
        assert [core.state for core in cores] == [CoreState.DONE] * 3 + [CoreState.DENIED]
        assert cores[0].device == CoreDevice("a", "HEALTHY", 7.0, "linux", "amd64", "aws_nucleus_classic")
    assert [file.name for file in path.parent.iterdir()] == ["fleet.db"]


def test_snapshot_queries_by_name(path: Path) -> None:
    """Many things and cores are found by name; duplicates and unknown names are ignored."""
    with Snapshot(path) as snapshot:
        assert list(snapshot.associations()) == [A_X, A_Y, B_X, B_Z]
        assert list(snapshot.associations("b")) == [B_X, B_Z]
        assert snapshot.find_things(["z", "x", "unknown"]) == {"z": [B_Z], "x": [A_X, B_X], "unknown": []}
        assert list(snapshot.pairs_of_things(["y", "x", "x"])) == [A_X, A_Y, B_X]
        many = (f"thing-{number}" for number in range(5_000))
        assert list(snapshot.pairs_of_things(itertools.chain(many, ["z"]))) == [B_Z]
        assert list(snapshot.pairs_of_cores(["c", "b", "unknown"])) == [B_X, B_Z]
        assert list(snapshot.unknown_cores(["a", "d", "unknown", "c"])) == ["d", "unknown"]


def test_snapshot_closed_iterator_allows_next_query(path: Path) -> None:
    """A closed or dropped iterator does not block the next query."""
    with Snapshot(path) as snapshot:
        stream = snapshot.pairs_of_things(["x"])
        assert next(stream) == A_X
        stream.close()  # type: ignore[attr-defined]  # a generator, declared as an iterator
        assert next(snapshot.pairs_of_cores(["b"])) == B_X
        assert list(snapshot.pairs_of_things(["y"])) == [A_Y]


def test_snapshot_query_by_thing_uses_index(path: Path) -> None:
    """A query by thing does not read the whole snapshot."""
    with Snapshot(path) as snapshot, snapshot._temp_names(["x"]):
        plan = snapshot._connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM temp.requested"
            " CROSS JOIN association ON association.thing = requested.name"
        ).fetchall()
    assert "association_thing" in str(plan)


def test_snapshot_queries_do_not_change_file(path: Path) -> None:
    """Queries by name do not change the file."""
    before = path.read_bytes()
    with Snapshot(path) as snapshot:
        snapshot.find_things(["x"])
    assert path.read_bytes() == before


def create_other_database(path: Path) -> None:
    """A SQLite file of another program."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE meta (key, value)")
    connection.close()


def create_journal(path: Path) -> None:
    """A journal."""
    importer = Importer(path)
    importer.add([("core", "thing")])
    importer.finish({})


def create_older_snapshot(path: Path) -> None:
    """A snapshot of the previous format."""
    schema.create(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def create_newer_snapshot(path: Path) -> None:
    """A snapshot of a future format."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 0x61676769")
        connection.execute("PRAGMA user_version = 9")
    connection.close()


NOT_SNAPSHOTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, ": no such file"),
    "a folder": (Path.mkdir, " is a directory, not a snapshot"),
    "empty": (Path.touch, " is not an asyncgg snapshot"),
    "text": (lambda path: path.write_text("core,thing\n" * 100), " is not an asyncgg snapshot"),
    "foreign": (create_other_database, " is not an asyncgg snapshot"),
    "a journal": (create_journal, " is a journal, not a snapshot"),
    "older": (create_older_snapshot, r" uses format 1; this version requires 2. Delete it and scan again\."),
    "newer": (create_newer_snapshot, r" uses format 9; this version supports up to 2. Upgrade asyncgg\."),
}


@pytest.mark.parametrize("name", NOT_SNAPSHOTS)
def test_open_unusable_file_fails(tmp_path: Path, name: str) -> None:
    """A one-line message says why."""
    path = tmp_path / "x.db"
    make, message = NOT_SNAPSHOTS[name]
    make(path)
    with pytest.raises(SnapshotError, match=f"/x.db{message}$") as raised:
        Snapshot(path)
    assert "\n" not in str(raised.value)


def read_all(path: Path) -> None:
    """Read everything."""
    with Snapshot(path) as snapshot:
        list(snapshot.associations())
        snapshot.find_things(["x"])


def test_read_damaged_file_fails(path: Path) -> None:
    """A truncated or overwritten file is reported as corrupt."""
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:4096] + b"\xff" * (len(whole) - 4096)):
        path.write_bytes(broken)
        with pytest.raises(SnapshotError, match="is corrupt"):
            read_all(path)
