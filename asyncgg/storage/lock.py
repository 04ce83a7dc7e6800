"""A lock file that lets one process at a time write a file, and that ends with the process."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from asyncgg.errors import UsageError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]  # without it there is no lock: users must start one run at a time

_RETRIES: Final = 5
_RETRY_INTERVAL: Final = 0.02
"""Seconds. `is_locked` holds the lock for an instant, which must not look like a run."""


class LockHeldError(UsageError):
    """Another process holds the lock."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is in use by another process{f' ({pid})' if pid else ''}")
        self.pid = pid
        """The holder's process id; None when unknown."""


def _lock_path(path: Path) -> Path:
    # A separate file: closing any handle of a file drops the process's POSIX locks on it, SQLite's
    # own included.
    real = Path(os.path.realpath(path))  # the same lock for every link to the file
    return real.with_name(real.name + ".lock")


class FileLock(AbstractContextManager["FileLock"]):
    """The exclusive right to write the file at `path`, from construction to `release`.

    Raises `LockHeldError` when another process has it, `OSError` when the lock file cannot be
    created.
    """

    def __init__(self, path: Path) -> None:
        self._path = _lock_path(path)
        self._handle: int | None = None
        attempts = _RETRIES
        while self._handle is None:
            try:
                self._handle = self._try_lock()
            except BlockingIOError:
                attempts -= 1
                if not attempts:
                    raise LockHeldError(path, self._read_pid()) from None
                time.sleep(_RETRY_INTERVAL)

    def __exit__(self, *_: object) -> None:
        self.release()

    def _try_lock(self) -> int | None:
        """The locked file; None when it was removed. Raises `BlockingIOError` when it is locked."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._still_linked(handle):
                os.close(handle)
                return None
            os.ftruncate(handle, 0)
            with contextlib.suppress(OSError):  # a full disk: what is written next reports it
                os.write(handle, str(os.getpid()).encode())
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _still_linked(self, handle: int) -> bool:
        """Whether the file exists: its last holder may have removed it after it was opened here."""
        try:
            return os.fstat(handle).st_ino == self._path.stat().st_ino
        except FileNotFoundError:
            return False

    def _read_pid(self) -> int | None:
        try:
            return int(self._path.read_bytes())
        except (OSError, ValueError):
            return None

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._handle is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of `path` now."""
    try:
        handle = os.open(_lock_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
