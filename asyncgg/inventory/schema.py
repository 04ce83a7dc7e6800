"""Rule: what a snapshot file looks like, and how one is opened: the tables, the file's marks, SQLite's errors in words.

A sweep is one SQLite file from its first page on; `finished` in `meta` says that it is over. Cores are numbered in the
order they came. An association's key is (core, thing), so pages of many cores fill it at few places, a repeated one
falls out by itself, and a core's things are a range. The index by thing is made at the end, in one sorted pass.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from asyncgg.errors import AsyncggError, JournalError, JournalWriteError, SnapshotError, SnapshotWriteError
from asyncgg.journal import schema as journal

__all__ = ["APPLICATION_ID", "VERSION", "create", "open_existing", "translate_error"]

APPLICATION_ID: Final = 0x61676769
"""SQLite's application_id of a snapshot: the letters `aggi`."""

VERSION: Final = 2
"""SQLite's user_version. A snapshot of a higher version is refused."""

_TABLES: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE core (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    last_status_at REAL,                  -- seconds since 1970, UTC
    platform TEXT NOT NULL,
    architecture TEXT NOT NULL,
    runtime TEXT NOT NULL,
    state INTEGER NOT NULL,               -- asyncgg.inventory.CoreState
    next_token TEXT NOT NULL,             -- what its next page is asked with; '': its first
    pages INTEGER NOT NULL,
    things INTEGER NOT NULL,
    code TEXT NOT NULL,                   -- why it was not listed to its end
    message TEXT NOT NULL
)""",
    """CREATE TABLE association (
    core INTEGER NOT NULL,
    thing TEXT NOT NULL,
    associated_at REAL,                   -- seconds since 1970, UTC
    PRIMARY KEY (core, thing)
) WITHOUT ROWID""",
)


def translate_error(error: sqlite3.Error | ValueError, path: Path, *, writing: bool = False) -> AsyncggError:
    """SQLite's `error` about the snapshot at `path`, or one about a value in it, as one of ours."""
    return _as_snapshot_error(journal.translate_error(error, path, writing=writing), path)


def _as_snapshot_error(error: AsyncggError, path: Path) -> AsyncggError:
    """What was said of a journal, said of a snapshot."""
    reason = str(error).removeprefix(f"journal {path}: ").replace("journal", "snapshot")
    error_type = SnapshotWriteError if isinstance(error, JournalWriteError) else SnapshotError
    return error_type(f"snapshot {path}: {reason}")


def create(path: Path) -> sqlite3.Connection:
    """A new, empty snapshot; a crash leaves either that or an empty file. Raises `SnapshotError`."""
    try:
        path.touch(mode=0o600)
        connection = journal.connect(path, "rw")
    except OSError as error:
        raise SnapshotError(f"snapshot {path}: it cannot be created: {error.strerror}") from None
    except sqlite3.Error as error:
        raise translate_error(error, path) from None
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        for table in _TABLES:
            connection.execute(table)
        connection.execute("COMMIT")
        _set_up(connection)
    except sqlite3.Error as error:
        connection.close()
        raise translate_error(error, path) from None
    return connection


def open_existing(path: Path, mode: str) -> sqlite3.Connection:
    """Open the snapshot at `path`, SQLite's `mode` being `ro` or `rw`; raises `SnapshotError` with the reason when not.

    What a kill left half-way between WAL and the one plain file is rolled back first, even for `ro`.
    """
    try:
        journal.require_file(path)
    except JournalError as error:
        raise _as_snapshot_error(error, path) from None
    try:
        try:
            return _open(path, mode)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            with closing(journal.connect(path, "rw")) as connection:
                connection.execute("PRAGMA user_version").fetchone()
            return _open(path, mode)
    except (sqlite3.Error, ValueError) as error:
        raise translate_error(error, path) from None


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection = journal.connect(path, mode)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            file_kind = (
                "a journal, not a snapshot" if application == journal.APPLICATION_ID else "not an asyncgg snapshot"
            )
            raise SnapshotError(f"snapshot {path}: it is {file_kind}")
        if version < VERSION:
            raise SnapshotError(f"snapshot {path}: older format {version}; delete the file and scan again")
        if version > VERSION:
            raise SnapshotError(
                f"snapshot {path}: a newer asyncgg wrote it (format {version}, this one knows {VERSION});"
                " upgrade asyncgg"
            )
        connection.execute("SELECT count(*) FROM meta").fetchone()
        connection.execute("SELECT max(core) FROM association").fetchone()
        if mode != "ro":
            _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # A power loss may cost the last pages, which are then asked for again; the file stays whole.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA temp_store = FILE")
