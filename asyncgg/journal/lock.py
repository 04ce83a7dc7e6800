"""Rule: one process runs a journal at a time; the lock that says so lives here and dies with its process.

An advisory lock on a file beside the journal, and not on the journal itself: closing any handle of a file drops a
process's POSIX locks on it, SQLite's own among them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from asyncgg.errors import JournalError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]  # a platform without it has no lock: one run at a time is the user's care

__all__ = ["FileLock", "is_locked"]

_RETRIES: Final = 5
_RETRY_INTERVAL: Final = 0.02
"""Seconds between attempts: `running` holds the lock for an instant, which must not look like a run."""


def _lock_path(path: Path) -> Path:
    real = Path(os.path.realpath(path))  # a run is found by every link to its journal
    return real.with_name(real.name + ".lock")


class FileLock:
    """The right to run one journal, from construction to `release`. Raises `JournalError` when another has it."""

    def __init__(self, path: Path) -> None:
        self._path = _lock_path(path)
        self._handle: int | None = None
        attempts = _RETRIES
        try:
            while self._handle is None:
                try:
                    self._handle = self._try_lock()
                except BlockingIOError as blocked:
                    attempts -= 1
                    if not attempts:
                        raise JournalError(
                            f"journal {path}: process {blocked.strerror or 'unknown'} is running it; "
                            "wait for it or stop it (status and report work meanwhile)"
                        ) from None
                    time.sleep(_RETRY_INTERVAL)
        except OSError as error:
            raise JournalError(
                f"journal {path}: its lock file {self._path.name}, which belongs beside it, cannot be made:"
                f" {error.strerror}"
            ) from None

    def _try_lock(self) -> int | None:
        """The locked file; None when it was removed meanwhile. Raises `BlockingIOError` with its holder's id."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._still_linked(handle):
                os.close(handle)
                return None
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        except BlockingIOError as error:
            holder = os.read(handle, 32).decode(errors="replace")
            os.close(handle)
            raise BlockingIOError(error.errno, holder) from None
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _still_linked(self, handle: int) -> bool:
        """Whether the file still has its name: its last holder may have removed it between our open and our lock."""
        try:
            return os.fstat(handle).st_ino == self._path.stat().st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let another process run the journal; does nothing the second time."""
        if self._handle is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def is_locked(path: Path) -> bool:
    """Whether some process runs `journal` now."""
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
