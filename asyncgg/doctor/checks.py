"""Checks credentials, connection, permissions, quota and machine before a run; changes nothing."""

from __future__ import annotations

import os
import platform
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry import iot_endpoint
from asyncgg.cleanup.rules.conditions import ThingGroup
from asyncgg.doctor.outcomes import (
    CheckOutcome,
    CheckStatus,
    check_call,
    failed,
    ok,
    warning,
)
from asyncgg.doctor.simulation import simulate_policies
from asyncgg.doctor.state import check_state
from asyncgg.errors import AsyncggError, CredentialsError, UsageError
from asyncgg.file_limit import fit_concurrency
from asyncgg.formatting import format_duration, sanitize
from asyncgg.notify import NotificationTarget, SnsTopic
from asyncgg.permissions import (
    ASSOCIATE,
    DISASSOCIATE,
    GET_QUOTA,
    LIST_CLIENT_DEVICES,
    LIST_CORES,
    PUBLISH,
    SIMULATE,
    partition_of,
)
from asyncgg.ratelimit import documented_quota
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, ConnectionConfig, Endpoint, get_caller_identity, resolve_endpoint
from asyncgg.transport.client import open_client, open_service_client
from asyncgg.transport.config import other_service_endpoint
from asyncgg.transport.credentials import CredentialSource
from asyncgg.transport.sdk import TracingSession
from asyncgg.tuning.service_quotas import applied_quota

_MAX_CLOCK_SKEW: Final = 240.0
"""Seconds. AWS rejects signatures that are more than 5 minutes old [Signature Version 4]."""
_MIN_CREDENTIAL_SECONDS: Final = 900.0
_UNUSED_NAME: Final = "asyncgg-doctor"
"""The name of a thing or group to ask for; that it does not exist is an answer, too."""


async def run_checks(
    connection: ConnectionConfig,
    settings: Settings,
    policy: Policy | None = None,
    targets: Sequence[NotificationTarget] = (),
) -> AsyncIterator[CheckOutcome]:
    """Run every check that is possible and yield its result.

    `policy`: also check what the rules and lists of a clean-up need. `targets`: who is to be notified.
    """
    yield ok("versions", _versions())
    yield _check_folder(settings.journal.parent if settings.journal else Path())
    yield _check_open_files(settings.concurrency)
    try:
        endpoint = resolve_endpoint(connection)
    except UsageError as error:
        yield failed("endpoint", error, "correct the setting")
        return
    yield ok("endpoint", f"{endpoint.url}, Region {endpoint.region} ({endpoint.source})")
    yield ok("proxy", _proxy(endpoint.url))
    try:
        async with open_client(connection, TracingSession) as opened:
            yield _check_expiry(opened.source)
            identity, results = await _check_account(connection, endpoint)
            for result in results:
                yield result
            core, results = await _check_greengrass(opened.client)
            for result in results:
                yield result
    except CredentialsError as error:
        yield failed("credentials", error, "choose a profile or renew the credentials")
        return
    except UsageError as error:
        yield failed("configuration", error, "correct the setting")
        return
    async for result in _check_writes(connection, endpoint, identity, core, targets):
        yield result
    yield await _check_quota(connection, endpoint, settings)
    if settings.state is not None:
        async for result in check_state(settings.state, connection, partition_of(endpoint.region)):
            yield result
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
        return failed("journals", problem, "change to another folder, or use --journal")
    free = f", {usage.f_bavail * usage.f_frsize / 1e9:.1f} GB free" if usage else ""
    return ok("journals", f"{path} is writable{free}")


def _check_open_files(concurrency: int) -> CheckOutcome:
    fitting = fit_concurrency(concurrency)
    if fitting < concurrency:
        detail = f"the limit allows {fitting} connections, --concurrency is {concurrency}"
        return warning("open files", detail, "raise the limit with `ulimit -n`")
    return ok("open files", f"enough for {concurrency} connections")


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
        return ok("credentials", f"from {source.method}, without expiry")
    detail = f"from {source.method}, expire in {format_duration(max(0.0, seconds))}"
    if seconds < _MIN_CREDENTIAL_SECONDS:
        return warning("credentials", detail, "renew them, unless their source renews them by itself")
    return ok("credentials", detail)


async def _check_account(
    connection: ConnectionConfig, endpoint: Endpoint
) -> tuple[CallerIdentity | None, list[CheckOutcome]]:
    try:
        identity = await get_caller_identity(connection, single_attempt=endpoint.custom)
    except CredentialsError as error:
        return None, [failed("account", error, "renew the credentials")]
    except AsyncggError as error:
        step = "a run needs --allow-unknown-account"
        return None, [warning("account", sanitize(error), step)]
    outcomes = [ok("account", f"{identity.account} ({identity.arn})")]
    if identity.answered_at is not None:
        skew = _now() - identity.answered_at
        detail = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service"
        outcomes.append(
            ok("clock", detail)
            if abs(skew) < _MAX_CLOCK_SKEW
            else warning("clock", detail, "synchronize the clock of this machine")
        )
    return identity, outcomes


# --- permissions ---


async def _check_greengrass(client: Any) -> tuple[str, list[CheckOutcome]]:
    """The name of a core device, or an unused one, and the outcomes."""
    cores: list[str] = []

    async def list_cores() -> None:
        response = await client.list_core_devices(maxResults=1)
        cores.extend(core["coreDeviceThingName"] for core in response.get("coreDevices", []))

    outcomes = [await check_call(LIST_CORES, list_cores)]
    core = cores[0] if cores else _UNUSED_NAME
    outcomes.append(
        await check_call(
            LIST_CLIENT_DEVICES,
            lambda: client.list_client_devices_associated_with_core_device(coreDeviceThingName=core, maxResults=1),
        )
    )
    return core, outcomes


async def _check_writes(
    connection: ConnectionConfig,
    endpoint: Endpoint,
    identity: CallerIdentity | None,
    core: str,
    targets: Sequence[NotificationTarget],
) -> AsyncIterator[CheckOutcome]:
    """What cannot be tried without a change: asks IAM to simulate the policies of the caller, if that is allowed."""
    partition, account = partition_of(endpoint.region), identity.account if identity else "*"
    core_arn = f"arn:{partition}:greengrass:{endpoint.region}:{account}:coreDevices:{core}"
    topics = [target.arn for target in targets if isinstance(target, SnsTopic)]
    questions = [(DISASSOCIATE, core_arn), (ASSOCIATE, core_arn), *((PUBLISH, topic) for topic in topics)]
    allowed, reason = await simulate_policies(connection, identity, questions)
    for question in questions:
        action, resource = question
        check = f"{action} on {resource}" if action == PUBLISH else action
        if question not in allowed:
            if action != ASSOCIATE:  # only an undo needs it
                yield CheckOutcome(
                    check,
                    CheckStatus.SKIPPED,
                    f"not checked, since a request would change something; {reason}",
                    f"see asyncgg iam-policy, or grant {SIMULATE} to check it",
                )
        elif allowed[question]:
            yield ok(check, "allowed, by a simulation of IAM")
        else:
            detail, step = f"denied for {resource}, by a simulation of IAM", f"grant {action} on {resource}"
            required = action == DISASSOCIATE
            yield CheckOutcome(
                check,
                CheckStatus.FAILED if required else CheckStatus.WARNING,
                detail,
                step if action != ASSOCIATE else f"{step}, if runs are to be undone",
                CredentialsError.exit_code if required else 0,
            )
    for target in targets:
        if not isinstance(target, SnsTopic):
            detail = f"{target.display_name}: not checked, since a check would send a message"
            yield CheckOutcome("notify", CheckStatus.SKIPPED, detail)


async def _check_quota(connection: ConnectionConfig, endpoint: Endpoint, settings: Settings) -> CheckOutcome:
    value, reason = await applied_quota(connection)
    documented = f"{documented_quota(endpoint.region):g} requests/s documented"
    if value is None:
        status = CheckStatus.SKIPPED if endpoint.custom else CheckStatus.WARNING
        return CheckOutcome("quota", status, f"{documented}; {reason}", f"give --quota, or grant {GET_QUOTA}")
    detail = f"{value:g} requests/s (Service Quotas), {documented}"
    if settings.quota is not None and settings.quota > value:
        return warning("quota", detail, f"lower --quota {settings.quota:g} to {value:g}")
    return ok("quota", detail)


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
                    yield await check_call(
                        url,
                        lambda bucket=bucket, key=key: client.head_object(Bucket=bucket, Key=key),  # type: ignore[misc]
                        f"s3:GetObject on {url}",
                    )
    except UsageError as error:
        yield failed("policy", error, "correct the setting")


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
        yield await check_call(action, calls[action])
