"""Connects to AWS with the settings of a run, and verifies its account before the first request."""

from __future__ import annotations

from asyncgg.errors import AsyncggError, CredentialsError, GuardError, ServiceError
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, ConnectionConfig, Endpoint, get_caller_identity


def connection_from_settings(settings: Settings) -> ConnectionConfig:
    """The connection to AWS for these settings."""
    return ConnectionConfig(
        profile=settings.profile,
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        connect_timeout=settings.connect_timeout,
        request_timeout=settings.request_timeout,
        max_connections=settings.concurrency,
    )


async def verify_account(
    target: Endpoint,
    settings: Settings,
    *,
    expected_from_journal: str = "",
    required: bool = True,
) -> tuple[CallerIdentity | None, str]:
    """Get the caller identity, or None and the reason why the account is unknown.

    With a custom endpoint, STS is called only if an account is expected. `expected_from_journal`:
    the account of an earlier start. Unless `required` (a plan), missing credentials are not an
    error.

    Raises:
        GuardError: the account is not the expected one, or cannot be checked.
        CredentialsError: there are no usable credentials, and `required`.
    """
    expected = settings.expect_account
    if target.custom and expected is None:
        return None, "not checked: custom endpoint in use"
    try:
        caller = await get_caller_identity(connection_from_settings(settings))
    except AsyncggError as error:
        if expected is not None and (not isinstance(error, CredentialsError) or not required):
            raise GuardError(f"--expect-account {expected} cannot be checked: {error}") from None
        if isinstance(error, ServiceError) or (isinstance(error, CredentialsError) and not required):
            return None, str(error)
        raise
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
