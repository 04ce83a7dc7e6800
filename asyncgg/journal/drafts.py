"""Files of a journal while it is imported: its lock, its draft, its folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from asyncgg.errors import JournalError
from asyncgg.storage import DRAFT_SUFFIX, FileLock, LockHeldError, draft_path, remove_file

_DEFAULT_DRAFTS: Final = f"asyncgg-*.journal{DRAFT_SUFFIX}"
"""Drafts of journals with a default name, which no later run has."""


def lock_new(path: Path) -> FileLock:
    """Lock a journal that is to be created. Raises `JournalError` if another process uses it."""
    try:
        return FileLock(path)
    except LockHeldError as error:
        raise JournalError(f"{error}; choose another --journal, or wait until it exits") from None
    except OSError as error:
        raise creation_error(path, error) from None


def creation_error(path: Path, error: OSError) -> JournalError:
    """Why the journal at `path` cannot be created."""
    cause = "its folder does not exist" if isinstance(error, FileNotFoundError) else error.strerror
    return JournalError(f"{path}: cannot create the file: {cause}")


def remove_drafts(path: Path) -> None:
    """Remove the drafts of killed imports: of the journal at `path`, and with default names next to it."""
    remove_file(draft_path(path))
    for draft in path.parent.glob(_DEFAULT_DRAFTS):
        # Skips a running import, and files that only another user can delete.
        with contextlib.suppress(OSError, LockHeldError), FileLock(draft.with_suffix("")):
            remove_file(draft)
