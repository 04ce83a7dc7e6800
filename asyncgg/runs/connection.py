"""Decides where a run sends: connection, account and endpoint, also those of an earlier start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.errors import AsyncggError, CredentialsError, DeadlineError, GuardError, UsageError
from asyncgg.settings import OUTPUT_SETTINGS, Settings, build_settings
from asyncgg.transport import CallerIdentity, ConnectionConfig, Endpoint, get_caller_identity, resolve_endpoint
from asyncgg.transport.role import AssumedRole, AwsIdentity


def identity_from_settings(settings: Settings) -> AwsIdentity:
    """Whose credentials these settings select."""
    if settings.role_arn is None:
        return settings.profile
    return AssumedRole(settings.role_arn, settings.external_id, settings.role_session_name, settings.profile)


def connection_from_settings(settings: Settings) -> ConnectionConfig:
    """The connection to AWS for these settings."""
    return ConnectionConfig(
        profile=identity_from_settings(settings),
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        connect_timeout=settings.connect_timeout,
        request_timeout=settings.request_timeout,
        max_connections=settings.concurrency,
        deadline=settings.deadline,
        allow_unknown_region=settings.allow_unknown_region,
    )


async def verify_account(
    target: Endpoint,
    settings: Settings,
    *,
    expected_from_journal: str = "",
    required: bool = True,
) -> tuple[CallerIdentity | None, str]:
    """Get the caller identity, or None and the reason why the account is unknown.

    `expected_from_journal`: the account of an earlier start. An unknown account is not an error at
    a custom endpoint, with the setting `allow_unknown_account`, or unless `required` (a plan).

    Raises:
        GuardError: the account is not the expected one, or is unknown.
        CredentialsError: there are no usable credentials, and `required`.
        DeadlineError: there are no credentials within `settings.deadline`.
        UsageError: the AWS configuration is unusable.
    """
    expected = settings.expect_account
    # A custom endpoint need not have STS, so without --expect-account one short attempt is enough.
    optional = target.custom and expected is None
    try:
        caller = await get_caller_identity(connection_from_settings(settings), single_attempt=optional)
    except (DeadlineError, UsageError):
        raise
    except AsyncggError as error:
        if isinstance(error, CredentialsError) and required:
            raise
        if expected is not None:
            raise GuardError(f"--expect-account {expected} cannot be checked: {error}") from None
        if required and not optional and not settings.allow_unknown_account:
            raise GuardError(
                f"the AWS account is unknown: {error}; nothing was sent\n"
                "to continue anyway, pass --allow-unknown-account"
            ) from None
        return None, str(error)
    if expected is not None and caller.account != expected:
        raise GuardError(
            f"the credentials are for account {caller.account}, not {expected} (--expect-account); nothing was sent"
        )
    if expected_from_journal and caller.account != expected_from_journal:
        raise GuardError(
            f"the run was started in account {expected_from_journal}, the credentials are for {caller.account};"
            " nothing was sent"
        )
    return caller, ""


# --- from a journal ---

# A later start uses the Region and endpoint of the first one, whatever the environment says. Only
# an explicit option of this start overrides them.

_NOT_SAVED: Final = OUTPUT_SETTINGS | {"journal", "state", "state_interval", "state_lease"}
"""Settings that later starts do not inherit."""


def restore_settings(
    saved: Mapping[str, Any],
    meta: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    exclude: frozenset[str] = frozenset(),
) -> Settings:
    """The `saved` settings of a journal, its Region and endpoint (from `meta`), and `overrides`.

    Settings in `exclude` are not inherited. Raises `SettingsError` for an invalid value.
    """
    values = {name: value for name, value in saved.items() if name not in _NOT_SAVED | exclude}
    if meta.get("region"):
        values["region"] = meta["region"]
    if _has_custom_endpoint(meta):
        values["endpoint_url"] = meta["endpoint"]
    return build_settings(values, overrides)


def resolve_saved_endpoint(settings: Settings, meta: Mapping[str, str], overrides: Mapping[str, Any]) -> Endpoint:
    """Where requests go. Raises `UsageError` if the environment alone selects another endpoint."""
    target = resolve_endpoint(connection_from_settings(settings))
    if target.custom and not _has_custom_endpoint(meta) and not overrides.get("endpoint_url"):
        raise UsageError(
            f"the run was started at {meta.get('endpoint', 'the AWS endpoint')}, but {target.source} sets {target.url};"
            f" unset {target.source}, or use --endpoint-url"
        )
    return target


def require_same_region(meta: Mapping[str, str], overrides: Mapping[str, Any]) -> None:
    """Raise `UsageError` if `overrides` select another Region than that of the run.

    In another Region the cores of the run do not exist, or others have their names.
    """
    saved_region, requested_region = meta.get("region", ""), overrides.get("region") or ""
    if saved_region and requested_region and requested_region != saved_region:
        raise UsageError(f"the run was started in Region {saved_region}, not {requested_region}; omit --region")


def _has_custom_endpoint(meta: Mapping[str, str]) -> bool:
    return bool(json.loads(meta.get("custom", "false")))
