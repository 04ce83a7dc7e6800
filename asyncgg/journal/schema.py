"""Rule: what a journal file looks like, and how one is opened: the tables, the file's marks, SQLite's errors in words.

A run is one SQLite file. Things are numbered by core and name when they are imported, so a core is a range of ids and
so is a batch of things that are sent for the first time. Their names stand a hundred to a row, as they are sent: one
row is read for a batch. What became of such a batch is one row, its request's. Only things that go another way (fail,
come back, were sent perhaps) get a row each, in `override`, and that row is what counts. The view `thing` shows every thing
as it stands.
"""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Final

from asyncgg.errors import AsyncggError, JournalError, JournalWriteError

__all__ = [
    "APPLICATION_ID",
    "VERSION",
    "connect",
    "create",
    "finish_import",
    "open_existing",
    "require_file",
    "translate_error",
]

APPLICATION_ID: Final = 0x61676767
"""SQLite's application_id of a journal: the letters `aggg`."""

VERSION: Final = 3
"""SQLite's user_version of a journal whose import is finished. A journal of another version is refused."""

_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE core (id INTEGER PRIMARY KEY, name TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE INDEX core_first ON core (first);
CREATE TABLE name_block (                       -- up to 100 things of one core: ids are first, first + 100, ...
    id INTEGER PRIMARY KEY,               -- of its first thing, the others follow
    names TEXT NOT NULL                   -- ascending, a blank between them
);
CREATE TABLE reason (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE selection (id INTEGER PRIMARY KEY, reason INTEGER NOT NULL);  -- why, of the things that a rule chose
CREATE VIEW name AS                       -- of things; ascending by core, then name
SELECT name_block.id + item.key AS id, item.value AS name
FROM name_block CROSS JOIN json_each('["' || replace(name_block.names, ' ', '","') || '"]') AS item;
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    core INTEGER NOT NULL,
    low INTEGER,                          -- of the things it was the first to carry: the lowest id, and
    high INTEGER,                         -- the highest; NULL when there are none
    default_count INTEGER NOT NULL,               -- how many of them have no row in `override`: `state` is theirs
    state INTEGER NOT NULL,               -- asyncgg.models.ThingState
    things INTEGER NOT NULL,              -- all it carried
    is_resend INTEGER NOT NULL,               -- 1: carries a thing that was sent before
    claimed_at REAL NOT NULL,             -- seconds since 1970, UTC
    sent_at REAL,                         -- its first byte; claimed a little before, the limiter between
    answered_at REAL,
    verdict TEXT,                         -- NULL: claimed, no answer written yet
    status INTEGER,                       -- HTTP
    code TEXT,
    aws_request_id TEXT
);
CREATE INDEX request_low ON request (low) WHERE low IS NOT NULL;
CREATE TABLE override (                        -- things whose way was not: pending, claimed, done
    id INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,            -- counted requests in this pass
    ambiguous INTEGER NOT NULL,           -- 1: sent before without a clear answer
    pass INTEGER NOT NULL,                -- `retry` begins a new one
    request INTEGER,                      -- the last request that carried it, or that decided its fate
    code TEXT,
    message TEXT
);
CREATE VIEW thing AS                      -- every thing as it stands; CROSS JOIN keeps the order of ids
SELECT name_block.id + item.key AS id, core.id AS core, item.value AS name,
    coalesce(override.state, batch.state, 0) AS state,
    coalesce(override.attempts, batch.state = 2, 0) AS attempts,
    coalesce(override.ambiguous, 0) AS ambiguous,
    coalesce(override.pass, 1) AS pass,
    CASE WHEN override.id IS NULL THEN batch.id ELSE override.request END AS request,
    override.code, override.message, reason.text AS reason
FROM core
CROSS JOIN name_block ON name_block.id BETWEEN core.first AND core.last
CROSS JOIN json_each('["' || replace(name_block.names, ' ', '","') || '"]') AS item
LEFT JOIN override ON override.id = name_block.id + item.key
LEFT JOIN request AS batch ON batch.high >= name_block.id + item.key
    AND batch.low = (SELECT max(low) FROM request WHERE low IS NOT NULL AND low <= name_block.id + item.key)
LEFT JOIN selection ON selection.id = name_block.id + item.key
LEFT JOIN reason ON reason.id = selection.reason;
"""

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then try again",
    sqlite3.SQLITE_READONLY: "it or its folder cannot be written",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; is its folder there, and may you write to it?",
    sqlite3.SQLITE_PERM: "it may not be opened; check its permissions",
    sqlite3.SQLITE_NOTADB: "it is not an asyncgg journal",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a copy",
    sqlite3.SQLITE_BUSY: "another program holds it; try again when that is done",
    sqlite3.SQLITE_IOERR: "the disk reports an error (is it full, or its quota?)",
}


_DISK_ERRORS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


def translate_error(error: sqlite3.Error | ValueError, path: Path, *, writing: bool = False) -> AsyncggError:
    """SQLite's `error` about the journal at `path`, or one about a value in it, as one of ours.

    `JournalWriteError` when `writing`, and whenever the disk is at fault, which is nobody's wrong usage.
    """
    number = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lower byte is the kind, the rest says more
    error_type = JournalWriteError if writing or number in _DISK_ERRORS else JournalError
    return error_type(f"journal {path}: {_ADVICE.get(number, f'it is not as a journal should be: {error}')}")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit that any one thread at a time may use; `mode` is SQLite's `ro`, `rw` or `rwc`."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def create(path: Path) -> sqlite3.Connection:
    """A new, empty journal, not yet marked as imported: a crash before `finish_import` leaves it unusable, on purpose.

    Raises `JournalError` when the file is there already or cannot be created.
    """
    try:
        path.touch(exist_ok=False, mode=0o600)
    except FileExistsError:
        raise JournalError(
            f"journal {path}: a file is there already; resume or retry it, or give another --journal"
        ) from None
    except OSError as error:
        raise JournalError(f"journal {path}: it cannot be created: {error.strerror}") from None
    connection = None
    try:
        connection = connect(path, "rw")
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA synchronous = OFF")  # nothing has been sent; finish_import syncs
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript(_TABLES)
    except BaseException as error:  # Ctrl-C too: nobody but us knows yet that there is a file
        if connection is not None:
            connection.close()
        path.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise translate_error(error, path) from None
        raise
    return connection


def finish_import(connection: sqlite3.Connection) -> None:
    """Mark the journal as usable, and have everything on the disk before that is believed.

    Not in WAL mode yet: until it is run, whoever may only read its folder can read it too.
    """
    connection.execute("PRAGMA synchronous = FULL")
    # Synced with the rest of the file; a power loss before that leaves the rollback journal, hence no mark.
    connection.execute(f"PRAGMA user_version = {VERSION}")


def require_file(path: Path) -> None:
    """Raise `JournalError` unless there is a file at `path`; opening a pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise JournalError(f"journal {path}: there is no such file") from None
    except OSError as error:
        raise JournalError(f"journal {path}: it cannot be opened: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise JournalError(f"journal {path}: this is a directory, not a journal")
    if not stat.S_ISREG(mode):
        raise JournalError(f"journal {path}: this is no regular file, hence no journal")


def open_existing(path: Path, mode: str) -> sqlite3.Connection:
    """Open the journal at `path` after checking that it is one; raises `JournalError` with the reason when not.

    What a kill left half-way between WAL and the one plain file is rolled back first, even for `ro`, which could not
    read it otherwise.
    """
    require_file(path)
    try:
        try:
            return _open(path, mode)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            with closing(connect(path, "rw")) as connection:
                connection.execute("PRAGMA user_version").fetchone()
            return _open(path, mode)
    except (sqlite3.Error, ValueError) as error:
        raise translate_error(error, path) from None


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection = connect(path, mode)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        problem = _format_problem(application, version)
        if problem is not None:
            raise JournalError(f"journal {path}: {problem}")
        connection.execute("SELECT count(*) FROM meta").fetchone()
        connection.execute("SELECT max(id) FROM name_block").fetchone()
        if mode != "ro":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a claim must survive a power loss
    except BaseException:
        connection.close()
        raise
    return connection


def _format_problem(application: int, version: int) -> str | None:
    if application != APPLICATION_ID:
        return "it is not an asyncgg journal"
    if version == 0:
        return "its import was not finished, so nothing was sent from it; delete it and start again"
    if version < VERSION:
        return f"an older asyncgg wrote it (format {version}, this one knows {VERSION}); use that one for it"
    if version > VERSION:
        return f"a newer asyncgg wrote it (format {version}, this one knows {VERSION}); upgrade asyncgg"
    return None
