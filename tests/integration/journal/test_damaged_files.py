"""Files that are not usable journals: one clear message, no traceback, no hang."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.errors import AsyncggError, JournalError
from asyncgg.inventory import schema as snapshot_schema
from asyncgg.journal import Importer, JournalReader, JournalWriter
from asyncgg.journal import schema as journal_schema
from tests.support.journal import create_journal, folder_entries, make_pairs, query_file, temporary_folder

PAGE = 4096
UNPRIVILEGED_UID = 65534
CORRUPT = "{path} is corrupt: database disk image is malformed; restore it from a copy"


def create_altered_journal(path: Path, change: Callable[[bytearray], object]) -> None:
    """A journal of 600 things with changed bytes."""
    create_journal(path, make_pairs(2, 300))
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def truncate(content: bytearray) -> None:
    """Keep the first half."""
    del content[len(content) // 2 :]


def scramble(content: bytearray) -> None:
    """Replace every page but the first."""
    content[PAGE:] = random.Random(1).randbytes(len(content) - PAGE)


def run_sql(path: Path, *statements: str) -> None:
    """Create or change an SQLite file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def create_journal_and_run_sql(path: Path, *statements: str) -> None:
    """A valid journal, changed by SQL."""
    create_journal(path, make_pairs(2, 3))
    run_sql(path, *statements)


def create_snapshot(path: Path) -> None:
    """An empty snapshot."""
    with closing(snapshot_schema.create(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "{path}: no such file"),
    "directory": (Path.mkdir, "{path} is a directory, not a journal"),
    "pipe": (os.mkfifo, "{path} is not a regular file"),
    "empty file": (Path.touch, "{path} is not an asyncgg journal"),
    "text": (lambda path: path.write_text("core,thing\n" * 500), "{path} is not an asyncgg journal"),
    "short text": (lambda path: path.write_text("hello\n"), "{path} is not an asyncgg journal"),
    "snapshot": (create_snapshot, "{path} is a snapshot, not a journal"),
    "foreign SQLite": (lambda path: run_sql(path, "CREATE TABLE song (x)"), "{path} is not an asyncgg journal"),
    "foreign, same version": (
        lambda path: run_sql(path, "CREATE TABLE thing (id)", "PRAGMA user_version = 3"),
        "{path} is not an asyncgg journal",
    ),
    "newer": (
        lambda path: create_journal_and_run_sql(path, "PRAGMA user_version = 99"),
        "{path} uses format 99; this version supports up to 3. Upgrade asyncgg.",
    ),
    "older": (
        lambda path: create_journal_and_run_sql(path, "PRAGMA user_version = 1"),
        "{path} uses format 1; this version requires 3. Use the asyncgg version that created it.",
    ),
    "unfinished": (
        lambda path: journal_schema.create(path).close(),
        "{path} is incomplete and nothing was sent from it; delete the file and start again",
    ),
    "truncated": (lambda path: create_altered_journal(path, truncate), CORRUPT),
    "one page left": (
        lambda path: create_altered_journal(path, lambda content: content.__delitem__(slice(PAGE, None))),
        CORRUPT,
    ),
    "scrambled": (lambda path: create_altered_journal(path, scramble), CORRUPT),
    "missing table": (
        lambda path: create_journal_and_run_sql(path, "DROP TABLE request"),
        "{path} is corrupt: no such table: request",
    ),
    "dangling link": (lambda path: path.symlink_to("missing"), "{path}: no such file"),
}


@pytest.mark.parametrize("opener", [JournalWriter, JournalReader])
@pytest.mark.parametrize("case", CASES)
def test_open_unusable_file_fails(tmp_path: Path, case: str, opener: type[JournalWriter | JournalReader]) -> None:
    """The message says why, and the file and its folder are unchanged."""
    path = tmp_path / "j"
    create, message = CASES[case]
    create(path)
    before = path.read_bytes() if path.is_file() else None
    names = folder_entries(path)
    with pytest.raises(JournalError) as caught:
        opener(path)
    assert str(caught.value) == message.format(path=path)
    assert caught.value.exit_code == 2
    if path.is_file() and case != "missing table":  # this one has a valid header, so its mode is set to WAL
        assert path.read_bytes() == before
    assert folder_entries(path) == names


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("UPDATE meta SET value = 'unknown' WHERE key = 'state'", "state"),
        ("UPDATE meta SET value = 'many' WHERE key = 'duplicates'", "summary"),
        ("UPDATE meta SET value = '{' WHERE key = 'settings'", "settings"),
        ("UPDATE meta SET value = 'NaN' WHERE key = 'duplicates'", "summary"),
        ("INSERT INTO meta VALUES ('lost_notifications', 'NaN')", "summary"),
        (f"UPDATE meta SET value = '{'[' * 100_000}' WHERE key = 'settings'", "settings"),
        ("UPDATE meta SET value = 'null' WHERE key = 'settings'", "settings"),
        ("INSERT INTO rate_decision VALUES (1, 'x', 30, 'start')", "rate_decisions"),
        ("INSERT INTO override VALUES (2, 9, 0, 0, 1, NULL, NULL, NULL)", "outcomes"),
    ],
)
def test_read_invalid_value_fails(tmp_path: Path, change: str, read: str) -> None:
    """An invalid value is reported as a corrupt file."""
    create_journal(tmp_path / "j", make_pairs(2, 3), {"state": "planned", "settings": "{}"})
    run_sql(tmp_path / "j", change)
    with JournalReader(tmp_path / "j") as reader, pytest.raises(JournalError, match="j is corrupt: "):
        list(getattr(reader, read)())


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    spots=st.integers(1, 60),
    kind=st.sampled_from(["bytes", "page", "zeros", "cut"]),
)
def test_open_damaged_file_never_crashes(seed: int, spots: int, kind: str) -> None:
    """A damaged file can be used completely, or fails with an `AsyncggError`."""
    rng = random.Random(seed)
    with temporary_folder() as folder:
        path = folder / "j"
        create_altered_journal(path, lambda content: damage(content, rng, spots, kind))
        messages = [
            error_message(lambda: read_all(path)),
            error_message(lambda: JournalWriter(path, threaded=False).close()),
        ]
        assert all(message is None or message.startswith(str(path)) for message in messages)
        assert "j.lock" not in folder_entries(path)


def read_all(path: Path) -> None:
    """Read a journal to the end."""
    with JournalReader(path) as reader:
        reader.summary()
        list(reader.outcomes())
        list(reader.cores())


def error_message(action: Callable[[], object]) -> str | None:
    """The message of the `AsyncggError` that `action` raises, if any."""
    try:
        action()
    except AsyncggError as error:
        return str(error)
    return None


def damage(content: bytearray, rng: random.Random, positions: int, kind: str) -> None:
    """Damage some bytes of a file."""
    page = rng.randrange(len(content) // PAGE) * PAGE
    if kind == "bytes":
        for _ in range(positions):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == "cut":
        del content[rng.randrange(len(content)) :]
    else:
        content[page : page + PAGE] = bytes(PAGE) if kind == "zeros" else rng.randbytes(PAGE)


def test_read_interrupted_transaction_rolls_back(tmp_path: Path) -> None:
    """A reader rolls back a transaction outside WAL mode that a power loss interrupted."""
    before, after = tmp_path / "before", tmp_path / "after"
    create_journal(before, make_pairs(20, 500))
    with closing(sqlite3.connect(before, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # writes pages to the file before the commit
        connection.execute("BEGIN")
        connection.execute(
            "INSERT OR REPLACE INTO override SELECT id, 2, 1, 0, 1, NULL, 'invented', 'invented' FROM name"
        )
        for suffix in ("", "-journal"):
            shutil.copy(f"{before}{suffix}", f"{after}{suffix}")
        connection.execute("ROLLBACK")
    assert before.read_bytes() != after.read_bytes()
    with JournalReader(after) as reader:
        assert (reader.counts().pending, reader.counts().disassociated) == (10_000, 0)
    assert not after.with_name("after-journal").exists()


# --- permissions ---


@contextmanager
def unprivileged_user() -> Iterator[Path]:
    """A folder owned by a user without privileges; as root, with that effective user id."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
            os.seteuid(UNPRIVILEGED_UID)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_open_without_permission_fails() -> None:
    """A file without read or write permission is refused with that reason."""
    with unprivileged_user() as folder:
        path = folder / "j"
        create_journal(path)
        path.chmod(0o000)
        for opener in (JournalWriter, JournalReader):
            with pytest.raises(JournalError) as caught:
                opener(path)
            assert str(caught.value) == f"{path}: cannot open the file; check that its folder exists and is writable"
        path.chmod(0o400)
        with pytest.raises(JournalError) as caught:
            JournalWriter(path)
        assert str(caught.value) == f"{path}: the file or its folder is not writable"
        with JournalReader(path) as reader:
            assert reader.summary().total == 1


def test_open_in_inaccessible_folder_fails() -> None:
    """The message has the reason of the operating system."""
    with unprivileged_user() as folder:
        create_journal(folder / "j")
        folder.chmod(0o000)
        for opener in (JournalWriter, JournalReader, Importer):
            with pytest.raises(JournalError, match=r"j: cannot (open|create) the file: Permission denied$"):
                opener(folder / "j")


def test_open_in_read_only_folder_reads_only() -> None:
    """In a read-only folder a journal can be read, but not created or run."""
    with unprivileged_user() as folder:
        planned, closed = folder / "planned", folder / "closed"
        create_journal(planned, make_pairs(1, 3))
        create_journal(closed, make_pairs(1, 4))
        JournalWriter(closed).close()
        folder.chmod(0o500)
        for path, things in ((planned, 3), (closed, 4)):
            with JournalReader(path) as reader:
                assert reader.summary().pending == things
                assert len(list(reader.outcomes())) == things
            with pytest.raises(JournalError) as caught:
                JournalWriter(path)
            assert str(caught.value) == f"{path}: cannot create the lock file {path.name}.lock: Permission denied"
        with pytest.raises(JournalError, match=r"new: cannot create the file: Permission denied$"):
            Importer(folder / "new")
        assert folder_entries(planned) == ["closed", "planned"]


def test_open_locked_by_other_program_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database lock of another program is reported after a short wait."""
    genuine = sqlite3.connect
    monkeypatch.setattr(
        "asyncgg.storage.sqlite.sqlite3.connect", lambda *args, **kwargs: genuine(*args, **kwargs | {"timeout": 0.01})
    )
    path = tmp_path / "j"
    create_journal(path)
    with closing(genuine(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError) as caught:
            JournalWriter(path)
        assert str(caught.value) == f"{path} is locked by another program; try again later"
    JournalWriter(path).close()
    assert query_file(path, "SELECT count(*) FROM thing") == [(1,)]
