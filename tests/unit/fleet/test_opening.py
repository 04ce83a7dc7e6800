"""Tests of the check of the accounts of targets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncgg.errors import UsageError
from asyncgg.fleet.opening import AccountCheck
from asyncgg.settings import Settings
from asyncgg.testing import run_virtual
from asyncgg.transport import CallerIdentity, Endpoint

ENDPOINT = Endpoint("eu-west-1", "https://greengrass", custom=False, partition="aws", source="aws")


def identities(monkeypatch: pytest.MonkeyPatch, *accounts: str | None) -> None:
    """Let the checks find these accounts, one after another, each within a second."""
    remaining = iter(accounts)

    async def find(*_: Any, **__: Any) -> tuple[CallerIdentity | None, str]:
        account = next(remaining)
        await asyncio.sleep(1)
        return (None if account is None else CallerIdentity(account, "arn", ""), "")

    monkeypatch.setattr("asyncgg.fleet.opening.verify_account", find)


def test_accounts_are_checked_side_by_side_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen at a time, out of consideration for STS."""
    identities(monkeypatch, *(f"{number:012}" for number in range(40)))

    async def main() -> float:
        start = asyncio.get_running_loop().time()
        accounts = AccountCheck()
        await asyncio.gather(*(accounts.verify(f"t{number}", ENDPOINT, Settings()) for number in range(40)))
        return asyncio.get_running_loop().time() - start

    assert run_virtual(main()) == 3.0


def test_one_quota_has_one_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same target may come again; an unknown account says nothing."""
    identities(monkeypatch, "1" * 12, "1" * 12, None, None, "1" * 12)

    async def main() -> None:
        accounts = AccountCheck()
        for name in ("a", "a", "b", "c"):
            await accounts.verify(name, ENDPOINT, Settings())
        with pytest.raises(UsageError, match="is the target a, too"):
            await accounts.verify("b", ENDPOINT, Settings())

    run_virtual(main())
