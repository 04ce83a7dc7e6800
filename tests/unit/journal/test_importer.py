"""The importer of journals."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.batching import requests_needed
from asyncgg.errors import JournalError
from asyncgg.journal import Importer, ImportSummary, JournalReader, JournalWriter
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


def test_open_unfinished_import_fails(tmp_path: Path) -> None:
    """An import that was not finished can be neither run nor read."""
    importer = Importer(tmp_path / "j")
    importer.add([("c", "a")])
    importer._connection.close()
    for opened in (JournalWriter, JournalReader):
        with pytest.raises(JournalError) as caught:
            opened(tmp_path / "j")
        assert str(caught.value) == (
            f"{tmp_path / 'j'} is incomplete and nothing was sent from it; delete the file and start again"
        )


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
    for batch in claim_all(journal._store, next(journal._store.pending_cores())):
        journal._store.record_batch(batch, ALL_DISASSOCIATED, RECORDED_REPLY)
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
    with pytest.raises(JournalError, match=r"j: cannot create the file: No such file or directory$"):
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

    path.touch()
    monkeypatch.setattr("asyncgg.journal.schema.create", lambda _: Failing())
    with pytest.raises(JournalError, match="unable to open database file"):
        Importer(path)
    assert not path.exists()


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
