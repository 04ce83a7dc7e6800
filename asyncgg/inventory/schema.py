"""The tables and the format of a snapshot file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from asyncgg.errors import SnapshotError, SnapshotWriteError
from asyncgg.files import os_errors_as
from asyncgg.storage import SqliteFormat

FORMAT: Final = SqliteFormat(
    label="snapshot",
    version=2,
    older_advice="Delete it and scan again.",
    error=SnapshotError,
    write_error=SnapshotWriteError,
    probes=("SELECT count(*) FROM meta", "SELECT max(core) FROM association"),
    pragmas=(
        "journal_mode = WAL",
        "synchronous = NORMAL",  # a power loss may cost the last pages, which are then requested again
        "cache_size = -32768",
        "temp_store = FILE",
    ),
)

# Cores are numbered in the order the service returned them. An association's key is (core, thing):
# pages of many cores are written at few places, a duplicate is ignored, and the things of a core
# are a range. The index by thing is created at the end of the scan, in one sorted pass.
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
    next_token TEXT NOT NULL,             -- of the next page; '': the first page
    pages INTEGER NOT NULL,
    things INTEGER NOT NULL,
    code TEXT NOT NULL,                   -- why its list is incomplete
    message TEXT NOT NULL
)""",
    """CREATE TABLE association (
    core INTEGER NOT NULL,
    thing TEXT NOT NULL,
    associated_at REAL,                   -- seconds since 1970, UTC
    PRIMARY KEY (core, thing)
) WITHOUT ROWID""",
)


def create(path: Path) -> sqlite3.Connection:
    """Create an empty snapshot; a crash leaves that or an empty file. Raises `SnapshotError`."""
    with os_errors_as(SnapshotError, f"{path}: cannot create the file"):
        path.touch(mode=0o600)
    with FORMAT.translate_errors(path):
        connection = FORMAT.connect(path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            FORMAT.mark(connection)
            for table in _TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA user_version = {FORMAT.version}")
            connection.execute("COMMIT")
            FORMAT.set_up(connection)
        except BaseException:
            connection.close()
            raise
    return connection
