"""A store of states in a folder, also on a network share."""

# The document is a file per version: `state-000000000042.json`. A version is made by a hard link, which
# fails if it exists, also on NFS. The highest one counts and is never deleted, so a process that was
# stopped for a while and links a number that was deleted meanwhile finds a higher one and knows that
# it is late.

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, TypeVar

from asyncgg.errors import StateWriteError, UsageError
from asyncgg.files import os_errors_as, sync_folder
from asyncgg.state.store import StoredDocument, VersionConflictError

T = TypeVar("T")
_DOCUMENT: Final = re.compile(r"state-(\d{12})\.json")
_KEPT_VERSIONS: Final = 3
_READ_ATTEMPTS: Final = 5


class FolderStore:
    """The store in `folder`, which the user writes as `location`."""

    def __init__(self, folder: Path, location: str) -> None:
        self.location = location
        self._folder = folder

    async def read_document(self) -> StoredDocument | None:
        """As `StateStore.read_document`."""
        return await self._in_thread(self._read)

    async def replace_document(self, data: bytes, version: str | None) -> str:
        """As `StateStore.replace_document`."""
        return await self._in_thread(self._replace, data, int(version or 0) + 1)

    async def upload(self, path: Path, key: str) -> None:
        """As `StateStore.upload`."""
        await self._in_thread(self._copy, path, key)

    async def download(self, key: str, path: Path) -> None:
        """As `StateStore.download`."""
        await self._in_thread(shutil.copyfile, self._folder / key, path)

    async def delete(self, key: str) -> None:
        """As `StateStore.delete`."""
        await self._in_thread((self._folder / key).unlink, missing_ok=True)

    def _read(self) -> StoredDocument | None:
        for _ in range(_READ_ATTEMPTS):
            versions = self._versions()
            if not versions:
                return None
            path = self._path(versions[-1])
            with contextlib.suppress(FileNotFoundError):  # replaced meanwhile by a few versions
                return StoredDocument(path.read_bytes(), str(versions[-1]), self._now() - path.stat().st_mtime)
        raise StateWriteError(f"{self.location}: the state changes faster than it can be read; try again")

    def _replace(self, data: bytes, number: int) -> str:
        draft = self._write(f"draft-{secrets.token_hex(8)}", io.BytesIO(data))
        try:
            os.link(draft, self._path(number))
        except FileExistsError:
            raise VersionConflictError(f"{self.location}: another process changes the state at the same time") from None
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            raise UsageError(
                f"{self.location}: this file system has no hard links, which the lease needs; use another folder or S3"
            ) from None
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(self._folder)
        versions = self._versions()
        if versions[-1] != number:
            raise VersionConflictError(f"{self.location}: another process changed the state meanwhile")
        for old in versions[:-_KEPT_VERSIONS]:
            self._path(old).unlink(missing_ok=True)
        return str(number)

    def _copy(self, path: Path, key: str) -> None:
        with path.open("rb") as source:
            self._write(key, source)

    def _write(self, key: str, source: IO[bytes]) -> Path:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # As for journals: names of devices are for this user only.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        return path

    def _now(self) -> float:
        """The time of the host that has the folder."""
        probe = self._write(f"draft-{secrets.token_hex(8)}", io.BytesIO())
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"state-{number:012}.json"

    def _versions(self) -> list[int]:
        if not self._folder.exists():  # read before the first run
            return []
        matches = (_DOCUMENT.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    async def _in_thread(self, work: Callable[..., T], *arguments: object, **options: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments, **options)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StateWriteError(f"{self.location}: cannot use the state: {error.strerror or error}") from None


def open_folder(location: str, *, create: bool) -> FolderStore:
    """The store in the folder `location`; a missing one is created, or empty. Blocking. Raises `UsageError`."""
    folder = Path(location).absolute()
    if create:
        with os_errors_as(UsageError, f"{location}: cannot create the folder of the state"):
            folder.mkdir(parents=True, exist_ok=True)
    elif folder.exists() and not folder.is_dir():
        raise UsageError(f"{location}: a state is a folder, or s3://BUCKET/PREFIX")
    return FolderStore(folder, location)
