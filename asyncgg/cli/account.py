"""Rule: the question whose credentials these are is put here, for the commands that have no loop running yet."""

from __future__ import annotations

from dataclasses import replace

from asyncgg.cli.supervisor import run_async
from asyncgg.errors import GuardError
from asyncgg.runs import Plan, verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

__all__ = ["attach_account"]


def attach_account(
    plan: Plan,
    endpoint: Endpoint | None,
    settings: Settings,
    *,
    required: bool,
    unknown_reason: str = "",
    recorded_account: str = "",
) -> tuple[Plan, CallerIdentity | None]:
    """The plan with the account in it, and the account when it is known; errors as of `verify_account`.

    Without a `target` nobody is asked, and the plan says `unknown`.
    """
    if endpoint is None:
        if settings.expect_account is not None:
            raise GuardError(f"--expect-account {settings.expect_account} cannot be checked: {unknown_reason}")
        return replace(plan, account_unknown_reason=unknown_reason), None
    account_check = verify_account(
        connection_from_settings(settings),
        endpoint,
        settings,
        expected_from_journal=recorded_account,
        required=required,
    )
    identity, reason = run_async(account_check)
    if identity is None:
        return replace(plan, account_unknown_reason=reason), None
    return replace(plan, account=identity.account, arn=identity.arn), identity
