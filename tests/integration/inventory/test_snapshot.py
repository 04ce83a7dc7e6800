"""Rule: what can be asked of a snapshot, and what is said of files that are none, is tested here."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from asyncgg.errors import SnapshotError
from asyncgg.inventory import AssociationRecord, CoreState, Origin, Snapshot
from asyncgg.journal import Importer
from asyncgg.models import CoreDevice, ErrorResponse
from asyncgg.simulator import FleetSpec
from tests.support.scan import ScanHarness

pytestmark = pytest.mark.virtual

PLAN = FleetSpec.from_things({"a": ["x", "y"], "b": ["x", "z"], "c": []}, now=7.0)
A_X, A_Y, B_X, B_Z = (AssociationRecord(core, thing, 7.0) for core, thing in ("ax", "ay", "bx", "bz"))


@pytest_asyncio.fixture
async def path(tmp_path: Path) -> Path:
    """A finished snapshot of PLAN, in which core d was denied."""
    plan = FleetSpec.from_things({**PLAN.things, "d": ["w"]}, now=7.0)
    harness = ScanHarness(tmp_path / "fleet.db", plan)
    harness.transport.intercept = lambda core, token: (
        ErrorResponse(403, "AccessDeniedException", "no") if core == "d" else None
    )
    await harness.start(origin=Origin("123456789012", "eu-west-1", "https://x"))
    return harness.path


def test_what_it_is(path: Path) -> None:
    """When it was taken, of what, how much it holds; and it is one file."""
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


def test_who_holds_what(path: Path) -> None:
    """Things and cores are looked up by name, many at once, whatever comes twice or is not there."""
    with Snapshot(path) as snapshot:
        assert list(snapshot.associations()) == [A_X, A_Y, B_X, B_Z]
        assert list(snapshot.associations("b")) == [B_X, B_Z]
        assert snapshot.find_things(["z", "x", "nobody"]) == {"z": [B_Z], "x": [A_X, B_X], "nobody": []}
        assert list(snapshot.pairs_of_things(["y", "x", "x"])) == [A_X, A_Y, B_X]
        many = (f"thing-{number}" for number in range(5_000))
        assert list(snapshot.pairs_of_things(itertools.chain(many, ["z"]))) == [B_Z]
        assert list(snapshot.pairs_of_cores(["c", "b", "nobody"])) == [B_X, B_Z]
        assert list(snapshot.unknown_cores(["a", "d", "nobody", "c"])) == ["d", "nobody"]


def test_a_stream_may_be_left_early(path: Path) -> None:
    """Whoever has seen enough closes the stream, or drops it, and asks anew."""
    with Snapshot(path) as snapshot:
        stream = snapshot.pairs_of_things(["x"])
        assert next(stream) == A_X
        stream.close()  # type: ignore[attr-defined]  # a generator, told as what it is for
        assert next(snapshot.pairs_of_cores(["b"])) == B_X
        assert list(snapshot.pairs_of_things(["y"])) == [A_Y]


def test_things_are_found_by_an_index(path: Path) -> None:
    """A look-up does not read the whole snapshot."""
    with Snapshot(path) as snapshot, snapshot._temp_names(["x"]):
        plan = snapshot._connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM temp.requested"
            " CROSS JOIN association ON association.thing = requested.name"
        ).fetchall()
    assert "association_thing" in str(plan)


def test_it_is_only_read(path: Path) -> None:
    """Asking changes nothing, not even with names in a table."""
    before = path.read_bytes()
    with Snapshot(path) as snapshot:
        snapshot.find_things(["x"])
    assert path.read_bytes() == before


def create_other_database(path: Path) -> None:
    """A SQLite file of somebody else."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE meta (key, value)")
    connection.close()


def create_journal(path: Path) -> None:
    """A journal."""
    importer = Importer(path)
    importer.add([("core", "thing")])
    importer.finish({})


def create_newer_snapshot(path: Path) -> None:
    """A snapshot of a later asyncgg."""
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
    "newer": (create_newer_snapshot, r" uses format 9; this version supports up to 2. Upgrade asyncgg\."),
}


@pytest.mark.parametrize("name", NOT_SNAPSHOTS)
def test_what_is_no_snapshot(tmp_path: Path, name: str) -> None:
    """One line says why, and which file."""
    path = tmp_path / "x.db"
    make, message = NOT_SNAPSHOTS[name]
    make(path)
    with pytest.raises(SnapshotError, match=f"/x.db{message}$") as raised:
        Snapshot(path)
    assert "\n" not in str(raised.value)


def read_all(path: Path) -> None:
    """Ask for everything."""
    with Snapshot(path) as snapshot:
        list(snapshot.associations())
        snapshot.find_things(["x"])


def test_damage_is_told(path: Path) -> None:
    """A file that lost its second half, or whose pages are overwritten, is called damaged when that is met."""
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:4096] + b"\xff" * (len(whole) - 4096)):
        path.write_bytes(broken)
        with pytest.raises(SnapshotError, match="is corrupt"):
            read_all(path)
