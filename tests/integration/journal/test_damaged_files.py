"""Rule: for each way in which a file can be no usable journal, one clear sentence; never a traceback, never a hang."""

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
from asyncgg.journal import Importer, JournalReader, JournalWriter
from tests.support.journal import create_journal, folder_entries, make_pairs, query_file, temporary_folder

PAGE = 4096
UNPRIVILEGED_UID = 65534
CORRUPT = "{path} is corrupt: database disk image is malformed; restore it from a copy"


def create_altered_journal(path: Path, change: Callable[[bytearray], object]) -> None:
    """A journal of 600 things, changed byte by byte."""
    create_journal(path, make_pairs(2, 300))
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def truncate(content: bytearray) -> None:
    """Only the first half."""
    del content[len(content) // 2 :]


def scramble(content: bytearray) -> None:
    """Nonsense in every page but the first."""
    content[PAGE:] = random.Random(1).randbytes(len(content) - PAGE)


def run_sql(path: Path, *statements: str) -> None:
    """A file of SQLite, made by another program, or changed by one."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def create_journal_and_run_sql(path: Path, *statements: str) -> None:
    """A good journal, then changed."""
    create_journal(path, make_pairs(2, 3))
    run_sql(path, *statements)


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "{path}: no such file"),
    "directory": (Path.mkdir, "{path} is a directory, not a journal"),
    "pipe": (os.mkfifo, "{path} is not a regular file"),
    "empty file": (Path.touch, "{path} is not an asyncgg journal"),
    "text": (lambda path: path.write_text("core,thing\n" * 500), "{path} is not an asyncgg journal"),
    "short text": (lambda path: path.write_text("hello\n"), "{path} is not an asyncgg journal"),
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
        lambda path: Importer(path)._connection.close(),
        "{path} is incomplete and nothing was sent from it; delete the file and start again",
    ),
    "truncated": (lambda path: create_altered_journal(path, truncate), CORRUPT),
    "one page left": (
        lambda path: create_altered_journal(path, lambda content: content.__delitem__(slice(PAGE, None))),
        CORRUPT,
    ),
    "scrambled": (lambda path: create_altered_journal(path, scramble), CORRUPT),
    "a table is gone": (
        lambda path: create_journal_and_run_sql(path, "DROP TABLE request"),
        "{path} is corrupt: no such table: request",
    ),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "{path}: no such file"),
}


@pytest.mark.parametrize("opener", [JournalWriter, JournalReader])
@pytest.mark.parametrize("case", CASES)
def test_a_bad_journal(tmp_path: Path, case: str, opener: type[JournalWriter | JournalReader]) -> None:
    """To run or to read what is no usable journal ends in one sentence, and neither changes nor leaves anything."""
    path = tmp_path / "j"
    create, message = CASES[case]
    create(path)
    before = path.read_bytes() if path.is_file() else None
    names = folder_entries(path)
    with pytest.raises(JournalError) as caught:
        opener(path)
    assert str(caught.value) == message.format(path=path)
    assert caught.value.exit_code == 2
    if path.is_file() and case != "a table is gone":  # that one is a journal, and is set to WAL
        assert path.read_bytes() == before
    assert folder_entries(path) == names


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("UPDATE meta SET value = 'dancing' WHERE key = 'state'", "state"),
        ("UPDATE meta SET value = 'many' WHERE key = 'duplicates'", "summary"),
        ("UPDATE meta SET value = '{' WHERE key = 'settings'", "settings"),
        ("INSERT INTO override VALUES (2, 9, 0, 0, 1, NULL, NULL, NULL)", "outcomes"),
    ],
)
def test_values_that_are_none(tmp_path: Path, change: str, read: str) -> None:
    """A value that no asyncgg writes is told as a fault of the file, not as one of the program."""
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
def test_any_damage(seed: int, spots: int, kind: str) -> None:
    """Whatever became of its bytes, a journal is read and opened to the end, or refused with an error of ours."""
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
    """The error of ours that `act` ends with, if it does."""
    try:
        action()
    except AsyncggError as error:
        return str(error)
    return None


def damage(content: bytearray, rng: random.Random, positions: int, kind: str) -> None:
    """Spoil some of a file's bytes."""
    page = rng.randrange(len(content) // PAGE) * PAGE
    if kind == "bytes":
        for _ in range(positions):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == "cut":
        del content[rng.randrange(len(content)) :]
    else:
        content[page : page + PAGE] = bytes(PAGE) if kind == "zeros" else rng.randbytes(PAGE)


def test_cut_off_in_a_transaction(tmp_path: Path) -> None:
    """What a power loss left half-written outside WAL mode is rolled back by whoever comes first, even a reader."""
    before, after = tmp_path / "before", tmp_path / "after"
    create_journal(before, make_pairs(20, 500))
    with closing(sqlite3.connect(before, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit
        connection.execute("BEGIN")
        connection.execute(
            "INSERT OR REPLACE INTO override SELECT id, 2, 1, 0, 1, NULL, 'invented', 'invented' FROM name"
        )
        for ending in ("", "-journal"):
            shutil.copy(f"{before}{ending}", f"{after}{ending}")
        connection.execute("ROLLBACK")
    assert before.read_bytes() != after.read_bytes()
    with JournalReader(after) as reader:
        assert (reader.counts().pending, reader.counts().disassociated) == (10_000, 0)
    assert not after.with_name("after-journal").exists()


# --- permissions ---


@contextmanager
def unprivileged_user() -> Iterator[Path]:
    """A folder that a user without privileges owns, and that user's rights within; as root by the effective id."""
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


def test_a_journal_of_somebody_else() -> None:
    """A journal one may not open is refused with a sentence about permission, to run and to read."""
    with unprivileged_user() as folder:
        path = folder / "j"
        create_journal(path)
        path.chmod(0o000)
        for opener in (JournalWriter, JournalReader):
            with pytest.raises(JournalError) as caught:
                opener(path)
            assert str(caught.value) == (f"{path}: cannot open the file; check that its folder exists and is writable")
        path.chmod(0o400)
        with pytest.raises(JournalError) as caught:
            JournalWriter(path)
        assert str(caught.value) == f"{path}: the file or its folder is not writable"
        with JournalReader(path) as reader:
            assert reader.summary().total == 1


def test_a_folder_one_may_not_enter() -> None:
    """A journal in a closed folder is refused with the system's reason."""
    with unprivileged_user() as folder:
        create_journal(folder / "j")
        folder.chmod(0o000)
        for opener in (JournalWriter, JournalReader, Importer):
            with pytest.raises(JournalError, match=r"j: cannot (open|create) the file: Permission denied$"):
                opener(folder / "j")


def test_a_folder_one_may_only_read() -> None:
    """In a read-only folder no journal is begun or run, but a closed or planned one can be read."""
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


def test_a_journal_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that some other program has locked is refused after a short wait, with that reason."""
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
