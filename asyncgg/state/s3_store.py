"""A store of states in S3, which replaces its document by conditional writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from asyncgg.errors import CredentialsError, StateWriteError, UsageError
from asyncgg.formatting import sanitize
from asyncgg.state.store import StoredDocument, VersionConflictError
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import other_service_endpoint
from asyncgg.transport.session import describe_client_error

T = TypeVar("T")
_DOCUMENT: Final = "state.json"
_ATTEMPTS: Final = 3
_DOCUMENT_TIMEOUT: Final = 60.0
"""Seconds to read the document, and for all attempts to write it; aiohttp waits for 100 Continue without a limit."""
_MAX_CONNECTIONS: Final = 32
"""Of one client, which the lanes of a campaign share."""
_CHUNK_SIZE: Final = 1 << 20
# [Amazon S3 User Guide: conditional writes] 412 when the condition is false, 409 when another write is in progress.
_CONFLICTS: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_MISSING: Final = frozenset({"NoSuchKey", "404"})
_DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "403"})
_REJECTED: Final = frozenset({"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"})


class S3Store:
    """The store below `location` (s3://BUCKET/PREFIX)."""

    def __init__(self, location: str, client: Any) -> None:
        self.location = location
        self._client = client
        self._bucket, self._prefix = parse_location(location)

    async def read_document(self) -> StoredDocument | None:
        """As `StateStore.read_document`; its age is that of the service, by the headers of one reply."""
        try:
            reply = await self._call(self._client.get_object(**self._object(_DOCUMENT)))
        except FileNotFoundError:
            return None
        async with reply["Body"] as body:
            data = await self._call(body.read(), _DOCUMENT_TIMEOUT)
        try:
            now = parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"])
            age = (now - reply["LastModified"]).total_seconds()
        except (LookupError, TypeError, ValueError):
            raise self._foreign_answer() from None
        return StoredDocument(data, self._etag(reply), age)

    async def replace_document(self, data: bytes, version: str | None) -> str:
        """As `StateStore.replace_document`."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        put = self._client.put_object(**self._object(_DOCUMENT), Body=data, ContentType="application/json", **condition)
        try:
            return self._etag(await self._call(put, _DOCUMENT_TIMEOUT))
        except FileNotFoundError:
            if version is None:
                raise StateWriteError(f"{self.location}: S3 answers 404 to a write; check the endpoint") from None
            raise VersionConflictError(f"{self.location}: the document was deleted") from None

    async def upload(self, path: Path, key: str) -> None:
        """As `StateStore.upload`."""
        with path.open("rb") as file:
            self._etag(await self._call(self._client.put_object(**self._object(key), Body=file)))

    async def download(self, key: str, path: Path) -> None:
        """As `StateStore.download`."""
        reply = await self._call(self._client.get_object(**self._object(key)))
        async with reply["Body"] as body:
            with path.open("wb") as file:
                while chunk := await self._call(body.read(_CHUNK_SIZE)):
                    await asyncio.to_thread(file.write, chunk)

    async def delete(self, key: str) -> None:
        """As `StateStore.delete`."""
        await self._call(self._client.delete_object(**self._object(key)))

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{key}"}

    def _etag(self, reply: Mapping[str, Any]) -> str:
        """The version of an object. Without one, a proxy answered, and nothing was stored."""
        if not (etag := reply.get("ETag")):
            raise self._foreign_answer()
        return str(etag)

    def _foreign_answer(self) -> StateWriteError:
        return StateWriteError(f"{self.location}: an answer is not from S3; check the endpoint and the proxy")

    async def _call(self, call: Awaitable[T], seconds: float | None = None) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except ClientError as error:
            raise self._translate(error) from None
        except (aiohttp.ClientError, BotoCoreError, TimeoutError, ValueError) as error:
            raise StateWriteError(f"{self.location}: S3: {sanitize(error) or 'no answer in time'}") from None

    def _translate(self, error: ClientError) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _CONFLICTS:
            return VersionConflictError(f"{self.location}: another process changes the state at the same time ({code})")
        if code in _MISSING:
            return FileNotFoundError(self.location)
        if code == "NoSuchBucket":
            return UsageError(f"{self.location}: no such bucket; create it, or check the name")
        if code in _DENIED:
            return CredentialsError(
                f"{self.location}: access denied ({error.operation_name}); it needs s3:GetObject, s3:PutObject and"
                " s3:DeleteObject on its objects, and s3:ListBucket on the bucket"
            )
        message = describe_client_error(f"{self.location}: {error.operation_name}", error)
        return CredentialsError(message) if code in _REJECTED else StateWriteError(message)


def parse_location(location: str) -> tuple[str, str]:
    """The bucket and the prefix of keys of a state. Raises `UsageError`."""
    parts = urlsplit(location)
    prefix = parts.path.strip("/")
    if not parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"{location}: not a location of a state; write s3://BUCKET/PREFIX")
    return parts.netloc, f"{prefix}/" if prefix else ""


@asynccontextmanager
async def open_s3_client(location: str, connection: ConnectionConfig) -> AsyncIterator[Any]:
    """Open a client for stores such as that at `location`, with the credentials of `connection`; as `open_client`."""
    parse_location(location)
    endpoint_url = other_service_endpoint(connection, "s3")
    async with open_service_client(
        "s3",
        ConnectionConfig(connection.profile, connect_timeout=5, request_timeout=20),
        connection.region,
        endpoint_url,
        attempts=_ATTEMPTS,
        max_pool_connections=_MAX_CONNECTIONS,
        # Host names of test endpoints rarely resolve with a bucket prefix.
        s3={"addressing_style": "path"} if endpoint_url else None,
    ) as (client, _):
        yield client
