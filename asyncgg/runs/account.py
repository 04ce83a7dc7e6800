"""Rule: in whose account a run acts is made sure here, before its first request."""

from __future__ import annotations

from pathlib import Path

from asyncgg.errors import AsyncggError, CredentialsError, GuardError, ServiceError
from asyncgg.journal import JournalReader, JournalWriter
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, ConnectionConfig, Endpoint, get_caller_identity

__all__ = ["recorded_account", "verify_account"]


async def verify_account(
    connection: ConnectionConfig,
    target: Endpoint,
    settings: Settings,
    *,
    expected_from_journal: str = "",
    required: bool = True,
) -> tuple[CallerIdentity | None, str]:
    """Whose account it is, or None and why that is not known.

    With a custom endpoint nobody is asked unless an account is expected. `recorded` is the account a journal was begun
    in. With `must_act` false (a plan) missing credentials are no error.

    Raises:
        GuardError: another account than expected or recorded, or an expectation that could not be checked.
        CredentialsError: no usable credentials, and `must_act`.
    """
    expected = settings.expect_account
    if target.custom and expected is None:
        return None, "a custom endpoint is used, so nobody else was asked"
    try:
        caller = await get_caller_identity(connection)
    except AsyncggError as error:
        if expected is not None and (not isinstance(error, CredentialsError) or not required):
            raise GuardError(f"--expect-account {expected} cannot be checked: {error}") from None
        if isinstance(error, ServiceError) or (isinstance(error, CredentialsError) and not required):
            return None, str(error)
        raise
    if expected is not None and caller.account != expected:
        raise GuardError(
            f"these credentials are of account {caller.account}, --expect-account wants {expected}; nothing was sent"
        )
    if expected_from_journal and caller.account != expected_from_journal:
        raise GuardError(
            f"this run was begun in account {expected_from_journal}, these credentials are of {caller.account}; nothing was sent"
        )
    return caller, ""


def recorded_account(path: Path) -> str:
    """The account the journal was begun in; empty when it was not known."""
    with JournalReader(path) as reader:
        return reader.meta().get("account", "")


async def record_account(journal: JournalWriter, caller: CallerIdentity | None) -> None:
    """Write the account into the journal, so that a later start cannot act in another one."""
    if caller is not None:
        await journal.submit(lambda store: store.put(account=caller.account, arn=caller.arn))
