"""The tables and the format of a journal file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from asyncgg.errors import JournalError, JournalWriteError
from asyncgg.models import Operation
from asyncgg.storage import SqliteFormat

FORMAT: Final = SqliteFormat(
    label="journal",
    version=3,
    older_advice="Use the asyncgg version that created it.",
    error=JournalError,
    write_error=JournalWriteError,
    probes=(
        "SELECT count(*) FROM meta",
        "SELECT max(id) FROM name_block",
        "SELECT max(id) FROM request",
        "SELECT max(id) FROM override",
    ),
    pragmas=("journal_mode = WAL", "synchronous = FULL"),  # a claim must survive a power loss
)

# Things are numbered by core and name when they are imported, so a core is a range of ids, and so
# is a batch of things that are sent for the first time. Names are stored a hundred per row, as they
# are sent: a batch reads one row. The result of a batch is one row of `request`. Only things that
# take another way (failed, requeued, possibly sent) have a row of their own in `override`, which
# then counts.
_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE core (id INTEGER PRIMARY KEY, name TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE INDEX core_first ON core (first);
CREATE TABLE name_block (                 -- up to 100 things of one core: ids are first, first + 100, ...
    id INTEGER PRIMARY KEY,               -- id of the first thing; the others follow
    names TEXT NOT NULL                   -- ascending, separated by one space
);
CREATE TABLE reason (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE selection (id INTEGER PRIMARY KEY, reason INTEGER NOT NULL);  -- why a rule selected the thing
CREATE VIEW name AS                       -- of things, by core and name
SELECT name_block.id + item.key AS id, item.value AS name
FROM name_block CROSS JOIN json_each('["' || replace(name_block.names, ' ', '","') || '"]') AS item;
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    core INTEGER NOT NULL,
    low INTEGER,                          -- lowest id of the things that it carried first; NULL: none
    high INTEGER,                         -- highest id of them
    default_count INTEGER NOT NULL,       -- how many of them have no row in `override`: `state` applies to them
    state INTEGER NOT NULL,               -- asyncgg.models.ThingState
    things INTEGER NOT NULL,              -- all things it carried
    is_resend INTEGER NOT NULL,           -- 1: carries a thing that was sent before
    claimed_at REAL NOT NULL,             -- seconds since 1970, UTC
    sent_at REAL,                         -- first byte; later than the claim by the wait for the limiter
    answered_at REAL,
    verdict TEXT,                         -- NULL: claimed, no answer recorded yet
    status INTEGER,                       -- HTTP
    code TEXT,
    aws_request_id TEXT
);
CREATE INDEX request_low ON request (low) WHERE low IS NOT NULL;
CREATE TABLE override (                   -- things whose state differs from that of their request
    id INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,            -- counted requests in this pass
    ambiguous INTEGER NOT NULL,           -- 1: sent before without a clear answer
    pass INTEGER NOT NULL,                -- `retry` starts a new one
    request INTEGER,                      -- the last request that carried it, or that decided its outcome
    code TEXT,
    message TEXT
);
CREATE TABLE rate_decision (              -- why the rate changed: the last few thousand changes
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,                     -- seconds since 1970, UTC
    rate REAL NOT NULL,                   -- requests per second from then on
    reason TEXT NOT NULL                  -- asyncgg.events.RateReason
);
CREATE VIEW thing AS                      -- every thing and its current state; CROSS JOIN keeps the order of ids
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


def create(path: Path) -> sqlite3.Connection:
    """Create an empty journal. It cannot be run before `finish_import`.

    Raises `OSError` or `sqlite3.Error`, and leaves no file then.
    """
    path.touch(exist_ok=False, mode=0o600)
    connection = None
    try:
        connection = FORMAT.connect(path)
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA synchronous = OFF")  # nothing is sent yet; finish_import syncs
        FORMAT.mark(connection)
        connection.executescript(_TABLES)
    except BaseException:  # KeyboardInterrupt too: no caller knows of the file yet
        if connection is not None:
            connection.close()
        path.unlink(missing_ok=True)
        raise
    return connection


def finish_import(connection: sqlite3.Connection) -> None:
    """Sync the journal to the disk and mark it as complete.

    It is not in WAL mode before it is run, so that a user who can only read its folder can read it.
    """
    connection.execute("PRAGMA synchronous = FULL")
    # Synced with the rest of the file: a power loss before that leaves the rollback journal, and
    # with it no mark.
    connection.execute(f"PRAGMA user_version = {FORMAT.version}")


def parse_operation(value: str, path: Path) -> Operation:
    """The operation recorded as `value` in the journal at `path`; empty means disassociation.

    Raises `JournalError` when the operation is unknown.
    """
    try:
        return Operation(value or Operation.DISASSOCIATE)
    except ValueError:
        raise JournalError(f"{path}: unknown operation {value!r}; upgrade asyncgg") from None
