"""The interface of the stores of states."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asyncgg.errors import StateWriteError
from asyncgg.transport import ConnectionConfig


class VersionConflictError(StateWriteError):
    """The document changed since its version was read."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The document of a state as the store has it."""

    data: bytes
    version: str
    age: float
    """Seconds since it was stored, by the clock of the store: the clocks of two hosts may differ."""


class StateStore(Protocol):
    """Keeps one document, which is replaced atomically, and whole files.

    Every method raises `StateWriteError`, `UsageError` or `CredentialsError` when the store cannot
    be used.
    """

    location: str
    """As the user writes it."""

    async def read_document(self) -> StoredDocument | None:
        """The current document; None before the first one."""

    async def replace_document(self, data: bytes, version: str | None) -> str:
        """Replace the document of `version`, None for the first one; returns the new version.

        Raises `VersionConflictError` when the store has another version.
        """

    async def upload(self, path: Path, key: str) -> None:
        """Store the file at `path` under a new key."""

    async def download(self, key: str, path: Path) -> None:
        """Write the file of `key` to `path`. Raises `FileNotFoundError` when the key is gone."""

    async def delete(self, key: str) -> None:
        """Delete a file; a missing one is no error."""


def open_client(location: str, connection: ConnectionConfig) -> AbstractAsyncContextManager[Any]:
    """What many stores below `location` can share: a client of S3; None for a folder. Errors as `open_store`."""
    if location.startswith("s3://"):
        from asyncgg.state.s3_store import open_s3_client  # loads the S3 client

        return open_s3_client(location, connection)
    return nullcontext()


@asynccontextmanager
async def open_store(
    location: str, connection: ConnectionConfig, client: Any = None, *, create: bool = True
) -> AsyncIterator[StateStore]:
    """The store at `s3://BUCKET/PREFIX` or in a folder; `client` is that of `open_client`, if there is one.

    `create`: a missing folder is created; otherwise its store is empty.

    Raises `UsageError` for an unusable location or AWS configuration, and `CredentialsError`.
    """
    if not location.startswith("s3://"):
        from asyncgg.state.folder_store import open_folder

        yield await asyncio.to_thread(open_folder, location, create=create)
        return
    from asyncgg.state.s3_store import S3Store  # loads the S3 client

    async with nullcontext(client) if client is not None else open_client(location, connection) as opened:
        yield S3Store(location, opened)
