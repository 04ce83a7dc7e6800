"""Rule: the question whose credentials these are is put here, for the commands that have no loop running yet."""

from __future__ import annotations

from dataclasses import replace

from asyncgg.cli.running import run_loop
from asyncgg.errors import GuardError
from asyncgg.runs import Plan, verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

__all__ = ["with_account"]


def with_account(
    plan: Plan,
    target: Endpoint | None,
    settings: Settings,
    *,
    must_act: bool,
    unknown: str = "",
    recorded: str = "",
) -> tuple[Plan, CallerIdentity | None]:
    """The plan with the account in it, and the account when it is known; errors as of `confirm_account`.

    Without a `target` nobody is asked, and the plan says `unknown`.
    """
    if target is None:
        if settings.expect_account is not None:
            raise GuardError(f"--expect-account {settings.expect_account} cannot be checked: {unknown}")
        return replace(plan, account_unknown=unknown), None
    asking = verify_account(
        connection_from_settings(settings), target, settings, expected_from_journal=recorded, required=must_act
    )
    found, why = run_loop(asking)
    if found is None:
        return replace(plan, account_unknown=why), None
    return replace(plan, account=found.account, arn=found.arn), found
