"""Checks credentials, connection, permissions, quota and machine before a run; changes nothing."""

from __future__ import annotations

import os
import platform
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry import iot_endpoint
from asyncgg.cleanup.rules.conditions import ThingGroup
from asyncgg.errors import AsyncggError, CredentialsError, UsageError
from asyncgg.file_limit import fit_concurrency
from asyncgg.formatting import format_duration, sanitize
from asyncgg.permissions import DISASSOCIATE, GET_QUOTA, LIST_CLIENT_DEVICES, LIST_CORES
from asyncgg.ratelimit import documented_quota
from asyncgg.settings import Settings
from asyncgg.transport import ConnectionConfig, Endpoint, get_caller_identity, resolve_endpoint
from asyncgg.transport.client import open_client, open_service_client
from asyncgg.transport.config import other_service_endpoint
from asyncgg.transport.credentials import CredentialSource
from asyncgg.transport.sdk import TracingSession
from asyncgg.transport.session import describe_client_error
from asyncgg.tuning.service_quotas import applied_quota

_EXIT_CONFIGURATION: Final = 2
_EXIT_CREDENTIALS: Final = 5
_MAX_CLOCK_SKEW: Final = 240.0
"""Seconds. AWS rejects signatures that are more than 5 minutes old [Signature Version 4]."""
_MIN_CREDENTIAL_SECONDS: Final = 900.0
_UNUSED_NAME: Final = "asyncgg-doctor"
"""The name of a thing or group to ask for; that it does not exist is an answer, too."""
_DENIED: Final = (401, 403)


class CheckStatus(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check, in one line."""

    check: str
    status: CheckStatus
    detail: str
    next_step: str = ""
    """What to do, unless the status is `ok`."""
    exit_code: int = 0
    """The exit code of a failed check."""


def exit_code(results: Sequence[CheckOutcome]) -> int:
    """The exit code of all checks: 5 before 2 before 0."""
    return max((result.exit_code for result in results), default=0)


async def run_checks(
    connection: ConnectionConfig, settings: Settings, policy: Policy | None = None
) -> AsyncIterator[CheckOutcome]:
    """Run every check that is possible and yield its result.

    `policy`: also check what the rules and lists of a clean-up need.
    """
    yield _ok("versions", _versions())
    yield _check_folder(settings.journal.parent if settings.journal else Path())
    yield _check_open_files(settings.concurrency)
    try:
        endpoint = resolve_endpoint(connection)
    except UsageError as error:
        yield _failed("endpoint", error, "correct the setting", _EXIT_CONFIGURATION)
        return
    yield _ok("endpoint", f"{endpoint.url}, Region {endpoint.region} ({endpoint.source})")
    yield _ok("proxy", _proxy(endpoint.url))
    try:
        async with open_client(connection, TracingSession) as opened:
            yield _check_expiry(opened.source)
            async for result in _check_account(connection, endpoint):
                yield result
            async for result in _check_greengrass(opened.client):
                yield result
    except CredentialsError as error:
        yield _failed("credentials", error, "choose a profile or renew the credentials", _EXIT_CREDENTIALS)
        return
    except UsageError as error:
        yield _failed("configuration", error, "correct the setting", _EXIT_CONFIGURATION)
        return
    yield await _check_quota(connection, endpoint, settings)
    if policy is not None:
        async for result in _check_policy(connection, endpoint, policy):
            yield result


def _now() -> float:
    return time.time()


# --- this machine ---


def _versions() -> str:
    names = ("asyncgg", "aiobotocore", "botocore", "aiohttp")
    return ", ".join([*(f"{name} {version(name)}" for name in names), f"Python {platform.python_version()}"])


def _check_folder(folder: Path) -> CheckOutcome:
    path = folder.absolute()
    try:
        with tempfile.NamedTemporaryFile(prefix=".asyncgg-", dir=folder):
            pass
        usage = os.statvfs(folder) if hasattr(os, "statvfs") else None
    except OSError as error:
        problem = UsageError(f"{path}: journals cannot be written: {error.strerror}")
        return _failed("journals", problem, "change to another folder, or use --journal", _EXIT_CONFIGURATION)
    free = f", {usage.f_bavail * usage.f_frsize / 1e9:.1f} GB free" if usage else ""
    return _ok("journals", f"{path} is writable{free}")


def _check_open_files(concurrency: int) -> CheckOutcome:
    fitting = fit_concurrency(concurrency)
    if fitting < concurrency:
        detail = f"the limit allows {fitting} connections, --concurrency is {concurrency}"
        return CheckOutcome("open files", CheckStatus.WARNING, detail, "raise the limit with `ulimit -n`")
    return _ok("open files", f"enough for {concurrency} connections")


def _proxy(url: str) -> str:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return "none"
    return sanitize(f"{urlsplit(proxy).hostname}:{urlsplit(proxy).port}")


# --- credentials and account ---


def _check_expiry(source: CredentialSource) -> CheckOutcome:
    seconds = source.expires_at - _now()
    if seconds == float("inf"):
        return _ok("credentials", f"from {source.method}, without expiry")
    detail = f"from {source.method}, expire in {format_duration(max(0.0, seconds))}"
    if seconds < _MIN_CREDENTIAL_SECONDS:
        return CheckOutcome(
            "credentials", CheckStatus.WARNING, detail, "renew them, unless their source renews them by itself"
        )
    return _ok("credentials", detail)


async def _check_account(connection: ConnectionConfig, endpoint: Endpoint) -> AsyncIterator[CheckOutcome]:
    try:
        identity = await get_caller_identity(connection, single_attempt=endpoint.custom)
    except CredentialsError as error:
        yield _failed("account", error, "renew the credentials", _EXIT_CREDENTIALS)
        return
    except AsyncggError as error:
        yield CheckOutcome("account", CheckStatus.WARNING, sanitize(error), "a run needs --allow-unknown-account")
        return
    yield _ok("account", f"{identity.account} ({identity.arn})")
    if identity.answered_at is not None:
        skew = _now() - identity.answered_at
        detail = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service"
        yield (
            _ok("clock", detail)
            if abs(skew) < _MAX_CLOCK_SKEW
            else CheckOutcome("clock", CheckStatus.WARNING, detail, "synchronize the clock of this machine")
        )


# --- permissions ---


async def _check_greengrass(client: Any) -> AsyncIterator[CheckOutcome]:
    cores: list[str] = []

    async def list_cores() -> None:
        response = await client.list_core_devices(maxResults=1)
        cores.extend(core["coreDeviceThingName"] for core in response.get("coreDevices", []))

    yield await _check_call(LIST_CORES, list_cores)
    core = cores[0] if cores else _UNUSED_NAME
    yield await _check_call(
        LIST_CLIENT_DEVICES,
        lambda: client.list_client_devices_associated_with_core_device(coreDeviceThingName=core, maxResults=1),
    )
    yield CheckOutcome(
        DISASSOCIATE,
        CheckStatus.SKIPPED,
        "not checked, since a request would change something",
        "see asyncgg iam-policy",
    )


async def _check_call(
    action: str, call: Callable[[], Awaitable[object]], grant: str = "", *, required: bool = True
) -> CheckOutcome:
    """Call a read-only operation once; a subject that does not exist is an answer, too."""
    try:
        await call()
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _DENIED:
            detail = describe_client_error("denied", error)
            step = f"grant {grant or action}"
            return CheckOutcome(action, CheckStatus.FAILED, detail, step, _EXIT_CREDENTIALS if required else 0)
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return _ok(action, "allowed")
        return CheckOutcome(
            action, CheckStatus.WARNING, describe_client_error("not checked", error), "run the check again"
        )
    except AsyncggError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore raises anything for a connection that fails
        return CheckOutcome(
            action, CheckStatus.FAILED, sanitize(error), "check endpoint, proxy and network", _EXIT_CONFIGURATION
        )
    return _ok(action, "allowed")


async def _check_quota(connection: ConnectionConfig, endpoint: Endpoint, settings: Settings) -> CheckOutcome:
    value, reason = await applied_quota(connection)
    documented = f"{documented_quota(endpoint.region):g} requests/s documented"
    if value is None:
        status = CheckStatus.SKIPPED if endpoint.custom else CheckStatus.WARNING
        return CheckOutcome("quota", status, f"{documented}; {reason}", f"give --quota, or grant {GET_QUOTA}")
    detail = f"{value:g} requests/s (Service Quotas), {documented}"
    if settings.quota is not None and settings.quota > value:
        return CheckOutcome("quota", CheckStatus.WARNING, detail, f"lower --quota {settings.quota:g} to {value:g}")
    return _ok("quota", detail)


async def _check_policy(
    connection: ConnectionConfig, endpoint: Endpoint, policy: Policy
) -> AsyncIterator[CheckOutcome]:
    try:
        if policy.iot_actions:
            async with open_service_client(
                "iot",
                connection,
                endpoint.region,
                iot_endpoint(connection, policy.iot),
                http_session_cls=TracingSession,
            ) as (client, _):
                async for result in _check_iot(client, policy):
                    yield result
        if policy.s3_objects:
            async with open_service_client(
                "s3",
                connection,
                endpoint.region,
                other_service_endpoint(connection, "s3"),
                http_session_cls=TracingSession,
            ) as (client, _):
                for url in policy.s3_objects:
                    bucket, _, key = url.removeprefix("s3://").partition("/")
                    yield await _check_call(
                        url,
                        lambda bucket=bucket, key=key: client.head_object(Bucket=bucket, Key=key),  # type: ignore[misc]
                        f"s3:GetObject on {url}",
                    )
    except UsageError as error:
        yield _failed("policy", error, "correct the setting", _EXIT_CONFIGURATION)


async def _check_iot(client: Any, policy: Policy) -> AsyncIterator[CheckOutcome]:
    groups = [condition.group for condition in policy.conditions if isinstance(condition, ThingGroup)]
    group = groups[0] if groups else _UNUSED_NAME
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "iot:DescribeThing": lambda: client.describe_thing(thingName=_UNUSED_NAME),
        "iot:SearchIndex": lambda: client.search_index(queryString=f"thingName:{_UNUSED_NAME}", maxResults=1),
        "iot:DescribeThingGroup": lambda: client.describe_thing_group(thingGroupName=group),
        "iot:ListThingsInThingGroup": lambda: client.list_things_in_thing_group(thingGroupName=group, maxResults=1),
    }
    for action in policy.iot_actions:
        yield await _check_call(action, calls[action])


def _ok(check: str, detail: str) -> CheckOutcome:
    return CheckOutcome(check, CheckStatus.OK, detail)


def _failed(check: str, error: AsyncggError, next_step: str, code: int) -> CheckOutcome:
    return CheckOutcome(check, CheckStatus.FAILED, sanitize(error), next_step, code)
