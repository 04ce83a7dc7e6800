"""SQLite files and their locks: what journals and snapshots have in common."""

from asyncgg.storage.lock import FileLock, LockHeldError, is_locked
from asyncgg.storage.sqlite import MetaStore, SqliteFormat, SqliteReader, WalCheckpoints, remove_file

__all__ = [
    "FileLock",
    "LockHeldError",
    "MetaStore",
    "SqliteFormat",
    "SqliteReader",
    "WalCheckpoints",
    "is_locked",
    "remove_file",
]
