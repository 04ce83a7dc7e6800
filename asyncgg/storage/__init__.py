"""SQLite files and their locks: what journals and snapshots have in common."""

from asyncgg.storage.lock import FileLock, LockHeldError, is_locked
from asyncgg.storage.sqlite import MetaStore, SqliteFormat, SqliteReader, remove_file

__all__ = ["FileLock", "LockHeldError", "MetaStore", "SqliteFormat", "SqliteReader", "is_locked", "remove_file"]
