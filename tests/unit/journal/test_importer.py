"""The importer of journals."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.batching import requests_needed
from asyncgg.errors import JournalError
from asyncgg.journal import Importer, ImportSummary, JournalReader, JournalWriter
from asyncgg.journal import importer as importer_module
from asyncgg.models import RunState, ThingState
from tests.support.journal import (
    ALL_DISASSOCIATED,
    RECORDED_REPLY,
    claim_all,
    create_journal,
    folder_entries,
    make_pairs,
    query_file,
    temporary_folder,
)

NAMES = st.text("ab:_-Z9", min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(
        st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["", "", "old", "gone"])), max_size=20), max_size=5
    ),
    limit=st.sampled_from([1, 300, 1000, 100_000]),
)
def test_import_result_is_independent_of_the_buffer(chunks: list[list[tuple[str, str, str]]], limit: int) -> None:
    """Names that are staged at once, in parts, or sorted on disk give the same things, with the latest reason."""
    ids = {"": 0}
    expected: dict[tuple[str, str], str] = {}
    with temporary_folder() as folder, mock.patch.multiple(importer_module, _MAX_BUFFERED=limit, _STAGED_NAMES=3):
        importer = Importer(folder / "j")
        for chunk in chunks:
            importer.add([(core, thing) for core, thing, reason in chunk if not reason])
            importer.add_with_reasons([row for row in chunk if row[2]])
            for core, thing, reason in chunk:
                ids.setdefault(reason, len(ids))
                expected[core, thing] = max(expected.get((core, thing), ""), reason, key=ids.__getitem__)
        summary = importer.finish({})
        rows = query_file(folder / "j", "SELECT core.name, thing.name, reason FROM thing JOIN core ON core.id = core")
    assert [((core, thing), reason or "") for core, thing, reason in rows] == sorted(expected.items())
    assert (summary.total, summary.duplicates) == (len(expected), sum(map(len, chunks)) - len(expected))


def test_import_stages_names_by_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full buffer becomes one row per core, and no name stays in memory."""
    monkeypatch.setattr(importer_module, "_MAX_BUFFERED", 100_000)
    importer = Importer(tmp_path / "j")
    for start in range(0, 10_000, 100):
        importer.add([(f"c{number % 10}", f"t{number:0100}") for number in range(start, start + 100)])
        assert sum(map(len, importer._names_by_core.values())) <= 100_000 / 164
    ((rows, names),) = importer._connection.execute(
        "SELECT count(*), sum(length(names) - length(replace(names, ' ', '')) + 1) FROM staging"
    )
    importer.discard()
    assert rows <= 10_000 / 50
    assert names >= 9_400


@settings(max_examples=60, deadline=None)
@given(chunks=st.lists(st.lists(st.tuples(NAMES, NAMES), max_size=40), max_size=5))
def test_import_any_pairs_stores_each_once_sorted(chunks: list[list[tuple[str, str]]]) -> None:
    """The journal has the distinct pairs by core and name, each core as one range of ids."""
    with temporary_folder() as folder:
        importer = Importer(folder / "j")
        for chunk in chunks:
            importer.add(chunk)
        summary = importer.finish({"run": "r-1"})
        given_pairs = [pair for chunk in chunks for pair in chunk]
        distinct = sorted(set(given_pairs))
        per_core = Counter(core for core, _ in distinct)
        assert summary == ImportSummary(
            total=len(distinct),
            duplicates=len(given_pairs) - len(distinct),
            cores=len(per_core),
            minimum=sum(map(requests_needed, per_core.values())),
            largest_core=max(per_core.values(), default=0),
        )
        with JournalReader(folder / "j") as reader:
            rows = list(reader.outcomes())
            assert [(row.core, row.thing) for row in rows] == distinct
            assert {row.state for row in rows} <= {ThingState.PENDING}
            assert dict(reader.cores()) == dict(per_core)
            meta = reader.meta()
            assert meta["run"] == "r-1"
            assert {key: int(meta[key]) for key in ("total", "duplicates", "cores", "minimum")} == {
                key: getattr(summary, key) for key in ("total", "duplicates", "cores", "minimum")
            }
        extents = query_file(
            folder / "j",
            "SELECT core.first, core.last, min(thing.id), max(thing.id), count(*)"
            " FROM core JOIN thing ON thing.core = core.id GROUP BY core.id",
        )
        assert all((first, last) == (low, high) for first, last, low, high, _ in extents)
        assert all(things == last - first + 1 for first, last, _, _, things in extents)
        assert folder_entries(folder / "j") == ["j"]


def test_import_numbers_each_core_as_one_range(tmp_path: Path) -> None:
    """The ids of a core are consecutive and ascend by name."""
    create_journal(tmp_path / "j", reversed(make_pairs(3, 150)))
    rows = query_file(
        tmp_path / "j",
        "SELECT core.name, min(thing.id), max(thing.id), count(*), core.first, core.last"
        " FROM thing JOIN core ON core.id = thing.core GROUP BY core.id ORDER BY core.id",
    )
    assert rows == [(f"core-{n:03}", 150 * n + 1, 150 * n + 150, 150, 150 * n + 1, 150 * n + 150) for n in range(3)]
    assert query_file(tmp_path / "j", "SELECT name FROM thing WHERE core = 2 ORDER BY id") == [
        (f"thing-{n:05}",) for n in range(150)
    ]


def kill(importer: Importer) -> None:
    """Leave the files as a killed process does."""
    importer._connection.close()
    assert importer._lock._handle is not None
    os.close(importer._lock._handle)
    importer._lock._handle = None


@pytest.mark.parametrize("finished", [False, True])
def test_killed_import_leaves_no_journal(tmp_path: Path, finished: bool) -> None:
    """A journal has its name only when it is complete; the next import removes what was left."""
    path = tmp_path / "j"
    importer = Importer(path)
    importer.add(make_pairs(2, 2000))
    if finished:
        importer.finish({}, commit=False)
    kill(importer)
    assert folder_entries(path) == ["j.draft", "j.lock"] if finished else not path.exists()
    for opened in (JournalWriter, JournalReader):
        with pytest.raises(JournalError) as caught:
            opened(path)
        assert str(caught.value) == f"{path}: no such file; its import did not end, nothing was sent: start again"
    create_journal(path, make_pairs(1, 3))
    assert folder_entries(path) == ["j"]


@pytest.mark.parametrize("other", ["j", "asyncgg-20260131-120000.journal", "other.journal"])
def test_import_removes_drafts_of_killed_imports(tmp_path: Path, other: str) -> None:
    """Drafts with this name or a default one are removed, unless their import is running."""
    killed = Importer(tmp_path / other)
    kill(killed)
    running = Importer(tmp_path / "asyncgg-20260131-130000.journal")
    create_journal(tmp_path / "j")
    drafts = {"asyncgg-20260131-130000.journal.draft", "asyncgg-20260131-130000.journal.lock"}
    kept = {"other.journal.draft", "other.journal.lock"} if other == "other.journal" else set()
    assert set(folder_entries(tmp_path / "j")) == {"j"} | drafts | kept
    running.add([("c", "a")])
    running.finish({})
    assert set(folder_entries(tmp_path / "j")) == {"j", "asyncgg-20260131-130000.journal"} | kept


def test_two_imports_of_one_name_exclude_each_other(tmp_path: Path) -> None:
    """The second import fails, and its failure leaves the draft of the first one alone."""
    first = Importer(tmp_path / "j")
    with pytest.raises(JournalError, match=r"j is in use by another process \(\d+\); choose another --journal"):
        Importer(tmp_path / "j")
    first.finish({})
    assert folder_entries(tmp_path / "j") == ["j"]


def test_discard_twice_keeps_the_draft_of_another_import(tmp_path: Path) -> None:
    """A discarded import has no right to the name any more."""
    first = Importer(tmp_path / "j")
    first.discard()
    second = Importer(tmp_path / "j")
    first.discard()
    second.add([("c", "a")])
    assert second.finish({}).total == 1


def test_commit_keeps_a_file_that_appeared_meanwhile(tmp_path: Path) -> None:
    """Another program's file is not replaced."""
    importer = Importer(tmp_path / "j")
    (tmp_path / "j").write_bytes(b"precious")
    with pytest.raises(JournalError, match="already exists"):
        importer.finish({})
    assert (tmp_path / "j").read_bytes() == b"precious"
    assert folder_entries(tmp_path / "j") == ["j"]


def test_commit_syncs_file_and_folder_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power loss the name stands for a complete file or does not exist."""
    steps: list[str] = []
    link, fsync = os.link, os.fsync

    def traced_link(path: Path, target: Path) -> None:
        steps.append("rename")
        link(path, target)

    def traced_fsync(handle: int) -> None:
        steps.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "link", traced_link)
    monkeypatch.setattr(os, "fsync", traced_fsync)
    importer = Importer(tmp_path / "j")
    importer._connection.set_trace_callback(steps.append)
    importer.finish({})
    assert [step for step in steps if "user_version" in step or "synchronous" in step or step[0] in "r/"] == [
        "PRAGMA synchronous = FULL",
        "PRAGMA user_version = 3",
        "rename",
        str(tmp_path),
    ]


def test_discard_removes_file(tmp_path: Path) -> None:
    """A discarded import leaves no file, finished or not."""
    importer = Importer(tmp_path / "j")
    importer.add(make_pairs(2, 2000))
    importer.discard()
    assert folder_entries(tmp_path / "j") == []
    importer = Importer(tmp_path / "j")
    importer.finish({})
    importer.discard()
    assert folder_entries(tmp_path / "j") == []


def test_discard_keeps_journal_used_by_another_process(tmp_path: Path) -> None:
    """A finished journal that another process runs or ran is not removed."""
    path = tmp_path / "j"
    importer = Importer(path)
    importer.add(make_pairs(1, 10))
    importer.finish({})
    journal = JournalWriter(path, threaded=False)
    importer.discard()
    assert "j" in folder_entries(path)
    for batch in claim_all(journal.store, next(journal.store.pending_cores())):
        journal.store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY)
    journal.close()
    importer.discard()
    assert folder_entries(path) == ["j"]
    with JournalReader(path) as reader:
        assert reader.counts().sent == 1


def test_import_existing_file_fails(tmp_path: Path) -> None:
    """An import does not change an existing file."""
    path = tmp_path / "j"
    path.write_bytes(b"precious")
    with pytest.raises(JournalError) as caught:
        Importer(path)
    assert str(caught.value) == f"{path} already exists; resume or retry it, or choose another --journal"
    assert path.read_bytes() == b"precious"


def test_import_missing_folder_fails(tmp_path: Path) -> None:
    """The message has the reason of the operating system."""
    with pytest.raises(JournalError, match=r"j: cannot create the file: its folder does not exist$"):
        Importer(tmp_path / "missing" / "j")


def test_import_sqlite_error_removes_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite error at the start leaves no partial file."""
    path = tmp_path / "j"
    genuine = sqlite3.connect(tmp_path / "other")

    class Failing:
        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError("unable to open database file")

        def close(self) -> None:
            genuine.close()

    monkeypatch.setattr("asyncgg.journal.schema.create", lambda _: Failing())
    with pytest.raises(JournalError, match="unable to open database file"):
        Importer(path)
    assert folder_entries(path) == ["other"]


def test_import_creates_private_file(tmp_path: Path) -> None:
    """A journal names devices of a customer: only its owner can read it."""
    create_journal(tmp_path / "j")
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def test_import_stores_metadata_of_caller(tmp_path: Path) -> None:
    """The metadata of the caller is stored with the counts of the import."""
    create_journal(tmp_path / "j", make_pairs(2, 3), {"source": "m.csv", "settings": '{"rate": 5.0}', "rejected": "4"})
    with JournalReader(tmp_path / "j") as reader:
        assert reader.settings() == {"rate": 5.0}
        summary = reader.summary()
        assert (summary.state, summary.total, summary.pending, summary.rejected) == (RunState.PLANNED, 6, 6, 4)


@pytest.mark.parametrize("with_links", [True, False])
def test_commit_replaces_no_file_that_appeared_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_links: bool
) -> None:
    """A file that another program created during the import is kept, and the draft is removed."""
    path = tmp_path / "j"
    importer = Importer(path)
    importer.add([("core", "thing")])
    importer.finish({}, commit=False)
    if not with_links:
        monkeypatch.setattr(os, "link", mock.Mock(side_effect=PermissionError(errno.EPERM, "no links")))
    path.write_bytes(b"precious")
    with pytest.raises(JournalError, match="j already exists"):
        importer.commit()
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]
