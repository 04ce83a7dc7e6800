"""The folders of campaigns and snapshots: how they are recognised and created."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from asyncgg.errors import UsageError

FILE_NAME: Final = "campaign.toml"
TARGET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The name of a target names its files."""


def is_campaign(path: Path) -> bool:
    """Whether `path` is the folder of a campaign."""
    return (path / FILE_NAME).is_file()


def require_prepared(folder: Path) -> None:
    """Raise `UsageError` for journals without a campaign file: a preparation was killed before it ended."""
    if not is_campaign(folder) and any(folder.glob("*.journal")):
        raise UsageError(
            f"{folder} has journals but no {FILE_NAME}; if its preparation was killed, nothing was sent: delete the"
            " journals, or choose another folder"
        )


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Create `folder`, if it is missing. An exception in the block removes it again if it is empty.

    Raises `UsageError` if it cannot be created.
    """
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot create the folder: {error.strerror or error}") from None
    try:
        yield
    except BaseException:
        if not existed:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
