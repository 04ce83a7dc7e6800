"""Downloads an S3 object into a temporary file."""

# The whole object is on disk before its first row is parsed: parsing needs no connection, Parquet
# can seek, and memory stays small.

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final, cast

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError, ResponseStreamingError

from asyncgg.errors import AsyncggError, CredentialsError, ManifestError
from asyncgg.formatting import sanitize
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.client import open_service_client
from asyncgg.transport.role import AwsIdentity

_CHUNK_SIZE: Final = 1 << 20
_ATTEMPTS: Final = 3
_ACCESS_ERROR_CODES: Final = frozenset(
    {
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)


@dataclass(frozen=True, slots=True)
class S3Downloader:
    """Downloads S3 objects; None is the setting of the environment or AWS configuration."""

    profile: AwsIdentity = None
    region: str | None = None
    endpoint_url: str | None = None

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Download the object into an unnamed file, which disappears when closed.

        Blocking; can be called with or without an event loop in this thread. Raises `ManifestError`
        if the object does not exist or cannot be downloaded, `CredentialsError` if credentials are
        missing or rejected, and `UsageError` for an unusable AWS configuration.
        """
        file = cast(BinaryIO, tempfile.TemporaryFile(prefix="asyncgg-"))  # noqa: SIM115 - the caller closes it
        cancel: Callable[[], object] | None = None

        async def download() -> None:
            nonlocal cancel
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            cancel = partial(loop.call_soon_threadsafe, task.cancel)
            await self._download(bucket, key, file)

        # The caller's thread may already run a loop. The context has the credentials to share.
        with ExitStack() as close_on_error:
            close_on_error.callback(file.close)
            with ThreadPoolExecutor(1, "asyncgg-s3") as thread:
                downloading = thread.submit(copy_context().run, asyncio.run, download())
                try:
                    downloading.result()
                finally:
                    if cancel is not None and not downloading.done():  # a signal: it may wait for an MFA code
                        cancel()
            close_on_error.pop_all()
        file.seek(0)
        return file

    async def _download(self, bucket: str, key: str, file: BinaryIO) -> None:
        url = f"s3://{bucket}/{key}"
        try:
            async with open_service_client(
                "s3",
                ConnectionConfig(self.profile, connect_timeout=10, request_timeout=60),
                self.region,
                self.endpoint_url,
                attempts=_ATTEMPTS,
                # Host names of test endpoints rarely resolve with a bucket prefix.
                s3={"addressing_style": "path"} if self.endpoint_url else None,
            ) as (client, _):
                for attempts_remaining in reversed(range(_ATTEMPTS)):
                    file.seek(0)
                    file.truncate()
                    try:
                        return await _fetch(client, bucket, key, file)
                    # The body was cut off. botocore retries earlier failures.
                    except (aiohttp.ClientError, IncompleteReadError, ResponseStreamingError):
                        if not attempts_remaining:
                            raise
        except ClientError as error:
            raise _translate_error(url, bucket, error) from None
        except (aiohttp.ClientError, BotoCoreError, TimeoutError, ValueError) as error:
            raise ManifestError(f"{url}: download failed: {sanitize(error) or type(error).__name__}") from None


async def _fetch(client: Any, bucket: str, key: str, file: BinaryIO) -> None:
    reply = await client.get_object(Bucket=bucket, Key=key)
    async with reply["Body"] as body:  # aiohttp raises if the body is shorter than announced
        while chunk := await body.read(_CHUNK_SIZE):
            await asyncio.to_thread(file.write, chunk)


def _translate_error(url: str, bucket: str, error: ClientError) -> AsyncggError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")).split("\n", 1)[0]
    if code in {"NoSuchKey", "404"}:
        return ManifestError(f"{url}: no such object; check the key")
    if code == "NoSuchBucket":
        return ManifestError(f"{url}: no such bucket `{bucket}`; check the name")
    if code in _ACCESS_ERROR_CODES:
        return CredentialsError(f"{url}: access denied ({code}); s3:GetObject on this object is required")
    return ManifestError(f"{url}: download failed: {code}: {message}")
