"""Rule: fetching a manifest from S3 lives here: one object into one temporary file; no parsing.

The object is on disk before its first row is read: parsing then needs no connection, Parquet can seek, and memory
stays small.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ResponseStreamingError,
    SSOError,
    TokenRetrievalError,
)

from asyncgg.errors import AsyncggError, CredentialsError, ManifestError

__all__ = ["S3Downloader"]

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
    """Opens objects of S3 by downloading them; None leaves a setting to the environment and the AWS configuration."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Download the object; the file returned has no name on disk and is gone when it is closed.

        Blocking, and safe to call with or without an event loop in this thread. Raises `ManifestError` when there is no
        such object or it cannot be fetched, `CredentialsError` when credentials are absent or refused.
        """
        file = cast(BinaryIO, tempfile.TemporaryFile(prefix="asyncgg-"))  # noqa: SIM115 - the caller closes it
        errors: list[BaseException] = []

        def download() -> None:
            try:
                asyncio.run(self._download(bucket, key, file))
            except BaseException as error:  # noqa: BLE001 - it is raised again in the calling thread
                errors.append(error)

        # A loop of its own in a thread of its own: the caller's thread may run a loop already.
        thread = threading.Thread(target=download, name="asyncgg-s3", daemon=True)
        thread.start()
        thread.join()
        if errors:
            file.close()
            raise errors[0]
        file.seek(0)
        return file

    async def _download(self, bucket: str, key: str, file: BinaryIO) -> None:
        url = f"s3://{bucket}/{key}"
        try:
            session = AioSession(profile=self.profile)
            config = AioConfig(
                connect_timeout=10,
                read_timeout=60,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                # Names of test endpoints seldom resolve with a bucket in front.
                s3={"addressing_style": "path"} if self.endpoint_url else None,
            )
            async with session.create_client(
                "s3", region_name=self.region, endpoint_url=self.endpoint_url, config=config
            ) as client:
                for attempts_remaining in reversed(range(_ATTEMPTS)):
                    file.seek(0)
                    file.truncate()
                    try:
                        return await _fetch(client, bucket, key, file)
                    # The body was cut; what fails before it, botocore has already tried again.
                    except (aiohttp.ClientError, IncompleteReadError, ResponseStreamingError):
                        if not attempts_remaining:
                            raise
        except ClientError as error:
            raise _translate_error(url, bucket, error) from None
        except ProfileNotFound:
            raise CredentialsError(f"{url}: the profile `{self.profile}` is not in the AWS configuration") from None
        except (NoCredentialsError, PartialCredentialsError):
            raise CredentialsError(
                f"{url}: no AWS credentials found: sign in, set a profile (--profile) or the AWS_* variables"
            ) from None
        except (CredentialRetrievalError, SSOError, TokenRetrievalError) as error:
            raise CredentialsError(
                f"{url}: no AWS credentials could be had ({type(error).__name__}): sign in again"
            ) from None
        except (aiohttp.ClientError, BotoCoreError, TimeoutError, ValueError) as error:
            raise ManifestError(
                f"{url} cannot be fetched: {' '.join(str(error).split()) or type(error).__name__}"
            ) from None


async def _fetch(client: Any, bucket: str, key: str, file: BinaryIO) -> None:
    reply = await client.get_object(Bucket=bucket, Key=key)
    async with reply["Body"] as body:  # aiohttp raises when less comes than was announced
        while chunk := await body.read(_CHUNK_SIZE):
            await asyncio.to_thread(file.write, chunk)


def _translate_error(url: str, bucket: str, error: ClientError) -> AsyncggError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")).split("\n", 1)[0]
    if code in {"NoSuchKey", "404"}:
        return ManifestError(f"{url}: no such object: check the key")
    if code == "NoSuchBucket":
        return ManifestError(f"{url}: no such bucket `{bucket}`: check its name")
    if code in _ACCESS_ERROR_CODES:
        return CredentialsError(f"{url}: S3 refused to give it ({code}): it needs s3:GetObject on this object")
    return ManifestError(f"{url} cannot be fetched: {code}: {message}")
