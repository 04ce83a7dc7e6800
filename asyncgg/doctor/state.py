"""Checks that a state can be kept: its permissions in S3, or its folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from asyncgg.doctor.outcomes import (
    CheckOutcome,
    CheckStatus,
    check_call,
    failed,
    ok,
    warning,
)
from asyncgg.errors import CredentialsError, UsageError
from asyncgg.state.s3_store import open_s3_client, parse_location
from asyncgg.transport import ConnectionConfig


async def check_state(location: str, connection: ConnectionConfig, partition: str) -> AsyncIterator[CheckOutcome]:
    """Check the permissions that a state at `location` needs, with an object that is deleted again."""
    if not location.startswith("s3://"):
        yield await asyncio.to_thread(_check_folder, Path(location))
        return
    try:
        bucket, prefix = parse_location(location)
        async with open_s3_client(location, connection) as client:
            async for outcome in _check_bucket(client, bucket, prefix, partition):
                yield outcome
    except UsageError as error:
        yield failed("state", error, "correct the setting")
    except CredentialsError as error:
        yield failed("state", error, "choose a profile or renew the credentials")


async def _check_bucket(client: Any, bucket: str, prefix: str, partition: str) -> AsyncIterator[CheckOutcome]:
    bucket_arn = f"arn:{partition}:s3:::{bucket}"
    objects = f"{bucket_arn}/{prefix}*"
    probe = {"Bucket": bucket, "Key": f"{prefix}asyncgg-doctor-{secrets.token_hex(8)}"}
    missing_bucket = False

    async def list_objects() -> None:
        nonlocal missing_bucket
        try:
            await client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except ClientError as error:
            missing_bucket = error.response.get("Error", {}).get("Code") == "NoSuchBucket"
            raise

    listed = await check_call("s3:ListBucket", list_objects, f"s3:ListBucket on {bucket_arn}")
    if missing_bucket:
        yield failed("state", UsageError(f"s3://{bucket}: no such bucket"), "create it, or check the name")
        return
    yield listed
    put = await check_call(
        "s3:PutObject", lambda: client.put_object(**probe, IfNoneMatch="*"), f"s3:PutObject on {objects}"
    )
    yield put
    if CheckStatus.OK in {listed.status, put.status}:
        yield await check_call("s3:GetObject", lambda: client.get_object(**probe), f"s3:GetObject on {objects}")
    else:  # a missing object is a 403, too
        detail = "not checked: that needs s3:ListBucket or s3:PutObject"
        yield CheckOutcome("s3:GetObject", CheckStatus.SKIPPED, detail, f"grant s3:GetObject on {objects}")
    if put.status is CheckStatus.OK:
        yield await _check_conditions(client, probe)
    deleted = await check_call(
        "s3:DeleteObject", lambda: client.delete_object(**probe), f"s3:DeleteObject on {objects}"
    )
    yield deleted
    if put.status is CheckStatus.OK and deleted.status is not CheckStatus.OK:
        detail = f"s3://{bucket}/{probe['Key']} was left there"
        yield warning("state", detail, "delete this empty object")


async def _check_conditions(client: Any, probe: dict[str, str]) -> CheckOutcome:
    """Whether the store rejects a second write of the probe, which the lease needs."""
    try:
        await client.put_object(**probe, IfNoneMatch="*")
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in {409, 412}:  # [Amazon S3 User Guide: conditional writes]
            return ok("state", "conditional writes work")
        return warning("state", f"conditional writes: HTTP {status}", "run the check again")
    except Exception as error:  # noqa: BLE001 - botocore raises anything for a connection that fails
        return warning("state", f"conditional writes: {type(error).__name__}", "run the check again")
    problem = UsageError("the store ignores the condition If-None-Match, which the lease needs")
    return failed("state", problem, "use another store")


def _check_folder(folder: Path) -> CheckOutcome:
    """Whether files and hard links can be made in the folder, or in the one in which it would be created."""
    path = folder.absolute()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    try:
        with tempfile.NamedTemporaryFile(prefix=".asyncgg-", dir=existing) as file:
            link = Path(f"{file.name}.link")
            os.link(file.name, link)
            link.unlink()
    except OSError as error:
        problem = UsageError(f"{path}: no files with hard links can be written: {error.strerror}")
        return failed("state", problem, "use another folder, or S3")
    return ok("state", f"{path} is writable" if existing == path else f"{path} can be created")
