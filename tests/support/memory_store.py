"""A store of states in memory, on the time of the running loop, with delays and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from asyncgg.errors import StateWriteError
from asyncgg.state import StoredDocument, VersionConflictError


class MemoryStore:
    """A store that several leases of a test share."""

    def __init__(self) -> None:
        self.location = "memory"
        self.versions: list[tuple[bytes, float]] = []
        self.files: dict[str, bytes] = {}
        self.delay: Callable[[], float] = lambda: 0.0
        """Seconds before and after each operation."""
        self.fail_before = self.fail_after = 0
        """How many replacements fail: before they are applied, and after."""
        self.ignores_conditions = False

    async def read_document(self) -> StoredDocument | None:
        """As `StateStore`."""
        await asyncio.sleep(self.delay())
        if not self.versions:
            return None
        data, stored_at = self.versions[-1]
        document = StoredDocument(data, str(len(self.versions)), asyncio.get_running_loop().time() - stored_at)
        await asyncio.sleep(self.delay())
        return document

    async def replace_document(self, data: bytes, version: str | None) -> str:
        """As `StateStore`."""
        await asyncio.sleep(self.delay())
        if self.fail_before:
            self.fail_before -= 1
            raise StateWriteError("memory: not available")
        if int(version or 0) != len(self.versions) and not self.ignores_conditions:
            raise VersionConflictError("memory: another version")
        self.versions.append((data, asyncio.get_running_loop().time()))
        version = str(len(self.versions))
        await asyncio.sleep(self.delay())
        if self.fail_after:
            self.fail_after -= 1
            raise StateWriteError("memory: the reply was lost")
        return version

    async def upload(self, path: Path, key: str) -> None:
        """As `StateStore`."""
        self.files[key] = await asyncio.to_thread(path.read_bytes)

    async def download(self, key: str, path: Path) -> None:
        """As `StateStore`."""
        if key not in self.files:
            raise FileNotFoundError(key)
        await asyncio.to_thread(path.write_bytes, self.files[key])

    async def delete(self, key: str) -> None:
        """As `StateStore`."""
        self.files.pop(key, None)
