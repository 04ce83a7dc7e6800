"""Open SQLite files, check their format and report their errors as errors of asyncgg."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.errors import AsyncggError
from asyncgg.storage.lock import FileLock, LockHeldError

# the letters `aggg`, `aggi` and `aggd`
_APPLICATION_IDS: Final = {"journal": 0x61676767, "snapshot": 0x61676769, "decommission journal": 0x61676764}
_LABELS: Final = {number: label for label, number in _APPLICATION_IDS.items()}

_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "{path}: the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "{path}: the file or its folder is not writable",
    sqlite3.SQLITE_CANTOPEN: "{path}: cannot open the file; check that its folder exists and is writable",
    sqlite3.SQLITE_PERM: "{path}: cannot open the file; check its permissions",
    sqlite3.SQLITE_NOTADB: "{path} is not an asyncgg {label}",
    sqlite3.SQLITE_CORRUPT: "{path} is corrupt: {error}; restore it from a copy",
    sqlite3.SQLITE_BUSY: "{path} is locked by another program; try again later",
    sqlite3.SQLITE_IOERR: "{path}: disk I/O error; check the free space and the disk quota",
}
_DISK_ERRORS: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_WRONG_TYPE: Final = (TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_FETCH_SIZE: Final = 100
DRAFT_SUFFIX: Final = ".draft"
"""Ends the name of a journal while it is imported."""
_CHECKPOINT_AFTER: Final = 1_000
"""Changed rows after which a WAL file is merged into its main file."""
_WAL_HEADER: Final = b"\2\2"
"""Bytes 18 and 19 of a file in WAL mode."""
_APPLICATION_ID_AT: Final = slice(68, 72)
"""Where the header of an SQLite file has its application id [SQLite, Database File Format, 1.3]."""


@dataclass(frozen=True, slots=True)
class SqliteFormat:
    """One kind of SQLite file: its header, its connection settings and its errors."""

    label: str
    """A key of `_APPLICATION_IDS`."""
    version: int
    """SQLite's user_version of a complete file; other versions are refused."""
    older_advice: str
    """What to do with a file of an older version."""
    error: type[AsyncggError]
    """Raised when the file cannot be used."""
    write_error: type[AsyncggError]
    """Raised when the file cannot be written, and for every disk error."""
    probes: tuple[str, ...]
    """Queries that fail when tables are missing."""
    pragmas: tuple[str, ...]
    """Settings of a connection that writes."""

    def mark(self, connection: sqlite3.Connection) -> None:
        """Set the application id, which identifies journals and snapshots."""
        connection.execute(f"PRAGMA application_id = {_APPLICATION_IDS[self.label]}")

    def is_marked(self, path: Path) -> bool:
        """Whether the file at `path` has the application id, whatever its version; False if it cannot be read."""
        try:
            if not path.is_file():  # opening a pipe would block for ever
                return False
            with path.open("rb") as file:
                header = file.read(_APPLICATION_ID_AT.stop)
        except OSError:
            return False
        return header[_APPLICATION_ID_AT] == _APPLICATION_IDS[self.label].to_bytes(4, "big")

    def set_up(self, connection: sqlite3.Connection) -> None:
        """Apply the settings of a connection that writes."""
        for pragma in self.pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def require_file(self, path: Path) -> None:
        """Raise `error` unless `path` is a regular file; opening a pipe would block for ever."""
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            draft = "; its import did not end, nothing was sent: start again" if draft_path(path).exists() else ""
            raise self.error(f"{path}: no such file{draft}") from None
        except OSError as error:
            raise self.error(f"{path}: cannot open the file: {error.strerror}") from None
        if stat.S_ISDIR(mode):
            raise self.error(f"{path} is a directory, not a {self.label}")
        if not stat.S_ISREG(mode):
            raise self.error(f"{path} is not a regular file")

    def open(self, path: Path, *, read_only: bool) -> sqlite3.Connection:
        """Open the file at `path` after checking its format. Raises `error`."""
        self.require_file(path)
        self._require_wal(path)
        with self.translate_errors(path):
            try:
                return self._open(path, read_only=read_only)
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_READONLY_ROLLBACK:
                    raise
                # A process was killed outside WAL mode. Only a writable connection can roll back.
                with contextlib.closing(self.connect(path)) as connection:
                    connection.execute("PRAGMA user_version").fetchone()
                return self._open(path, read_only=read_only)

    def connect(self, path: Path, *, read_only: bool = False, options: str = "") -> sqlite3.Connection:
        """Connect in autocommit mode to an existing file, for one thread at a time."""
        uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}{options}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection

    def lock(self, path: Path) -> FileLock:
        """Lock the file at `path`. Raises `error` when another process holds the lock."""
        try:
            return FileLock(path)
        except LockHeldError as error:
            raise self.error(f"{error}; wait until it exits, or stop it") from error
        except OSError as error:
            raise self.error(f"{path}: cannot create the lock file {path.name}.lock: {error.strerror}") from None

    def translate(self, error: Exception, path: Path, *, writing: bool = False) -> AsyncggError:
        """`error`, raised while the file at `path` was used, as an error of asyncgg."""
        if isinstance(error, AsyncggError):
            return error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lower byte is the primary result code
        error_type = self.write_error if writing or code in _DISK_ERRORS else self.error
        if writing and not isinstance(error, sqlite3.Error):
            return error_type(f"{path}: {error!r}")
        message = _ADVICE.get(code, "{path} is corrupt: {error}")
        return error_type(message.format(path=path, label=self.label, error=error))

    @contextlib.contextmanager
    def translate_errors(self, path: Path, *, writing: bool = False) -> Iterator[None]:
        """Translate SQLite's errors, and what a value of another type raises: a damaged file may hold any value."""
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise self.translate(error, path, writing=writing) from None
        except _WRONG_TYPE as error:
            if writing:  # the values are those of the program
                raise
            raise self.error(f"{path} is corrupt: {type(error).__name__}: {error}; restore it from a copy") from None

    def _open(self, path: Path, *, read_only: bool) -> sqlite3.Connection:
        connection = self.connect(path, read_only=read_only)
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            self._check_header(path, application, version)
            for probe in self.probes:
                connection.execute(probe).fetchone()
            if not read_only:
                self.set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_wal(self, path: Path) -> None:
        """Raise `error` when the file at `path` is not complete without its WAL file, which is missing."""
        real = Path(os.path.realpath(path))  # SQLite looks next to the file, not next to a link
        wal_path = real.with_name(f"{real.name}-wal")
        with contextlib.suppress(OSError, sqlite3.Error):  # reported by what opens the file next
            with real.open("rb") as file:
                in_wal_mode = file.read(20)[18:] == _WAL_HEADER
            if not in_wal_mode or (wal_path.exists() and wal_path.stat().st_size):
                return
            # An immutable file is read without its WAL file, and none is created.
            with contextlib.closing(self.connect(real, read_only=True, options="&immutable=1")) as connection:
                if MetaStore(connection).get("wal_required") == "1":
                    raise self.error(
                        f"{path} is not complete: its latest entries are in {wal_path.name}, which is missing"
                        f" (expected: {wal_path}); copy or move both files together, or use the original"
                    )

    def _check_header(self, path: Path, application: int, version: int) -> None:
        if application != _APPLICATION_IDS[self.label]:
            other = _LABELS.get(application)
            raise self.error(f"{path} is {f'a {other}, not a' if other else 'not an asyncgg'} {self.label}")
        if version == 0:
            raise self.error(f"{path} is incomplete and nothing was sent from it; delete the file and start again")
        if version < self.version:
            raise self.error(f"{path} uses format {version}; this version requires {self.version}. {self.older_advice}")
        if version > self.version:
            raise self.error(
                f"{path} uses format {version}; this version supports up to {self.version}. Upgrade asyncgg."
            )


def draft_path(path: Path) -> Path:
    """The name of the file at `path` while it is imported."""
    return path.with_name(f"{path.name}{DRAFT_SUFFIX}")


def remove_file(path: Path) -> None:
    """Delete a file and its SQLite side files, if they exist."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def rollback(connection: sqlite3.Connection) -> None:
    """Roll back the current transaction, if there is one; a failure is ignored."""
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


class MetaStore:
    """The table `meta` of a connection: keys and values as text. Raises `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    def get(self, key: str, default: str = "") -> str:
        """The value of `key`."""
        row = self._execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def put(self, **values: object) -> None:
        """Set values."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in values.items()]
        )


# A main file must show that it was copied without its WAL file. So the last transaction before a
# checkpoint makes a mark, and the next one, which only the WAL file has, removes it.
class WalCheckpoints:
    """Merges the WAL file of a connection that writes into the main file, from time to time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._meta = MetaStore(connection)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.checkpoint("FULL")  # waits for readers for a moment

    def after_commit(self) -> None:
        """Merge if enough was changed. Call it outside of transactions."""
        if self._connection.total_changes - self._changes_before >= _CHECKPOINT_AFTER:
            self.checkpoint()

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Merge what no reader prevents. Errors are ignored: the next commit has them too."""
        with contextlib.suppress(sqlite3.Error):
            self._meta.put(wal_required=1)
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        with contextlib.suppress(sqlite3.Error):
            self._meta.put(wal_required=0)
        self._changes_before = self._connection.total_changes


class SqliteReader:
    """A file opened for reading. Every query raises the `error` of the format."""

    def __init__(self, file_format: SqliteFormat, path: Path) -> None:
        self.path = path
        self._format = file_format
        self._connection = file_format.open(path, read_only=True)
        try:
            with self._translate_errors():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Set up the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _translate_errors(self) -> contextlib.AbstractContextManager[None]:
        return self._format.translate_errors(self.path)

    def _rows(self, query: str, *values: object) -> Generator[Any, None, None]:
        """The rows of a query, streamed."""
        with self._translate_errors():
            cursor = self._connection.execute(query, values)
            # `yield from cursor` would close the cursor of a half-read generator after its
            # connection: an error.
            while rows := cursor.fetchmany(_FETCH_SIZE):
                yield from rows
