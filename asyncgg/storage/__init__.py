"""SQLite files and their locks: what journals and snapshots have in common."""

from asyncgg.storage.lock import FileLock, LockHeldError, is_locked
from asyncgg.storage.sqlite import (
    DRAFT_SUFFIX,
    MetaStore,
    SqliteFormat,
    SqliteReader,
    WalCheckpoints,
    draft_path,
    remove_file,
)
from asyncgg.storage.writer import SqliteWriter

__all__ = [
    "DRAFT_SUFFIX",
    "FileLock",
    "LockHeldError",
    "MetaStore",
    "SqliteFormat",
    "SqliteReader",
    "SqliteWriter",
    "WalCheckpoints",
    "draft_path",
    "is_locked",
    "remove_file",
]
