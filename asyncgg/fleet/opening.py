"""Checks the account of each target before its first request, a few at a time."""

from __future__ import annotations

import asyncio
from typing import Final

from asyncgg.errors import UsageError
from asyncgg.runs import verify_account
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

_MAX_OPENING: Final = 16
"""Targets whose credentials are loaded and checked at once, out of consideration for STS."""


class AccountCheck:
    """The accounts of the targets that work side by side. Needs a running loop."""

    def __init__(self) -> None:
        self._opening = asyncio.Semaphore(_MAX_OPENING)
        self._names: dict[tuple[str, str, str], str] = {}

    async def verify(
        self, name: str, endpoint: Endpoint, settings: Settings, *, expected_from_journal: str = ""
    ) -> CallerIdentity | None:
        """The account of a target, as `verify_account`; None if it is unknown.

        Raises as `verify_account`, and `UsageError` if another target has the same quota: names of
        profiles do not show that.
        """
        async with self._opening:
            account, _ = await verify_account(endpoint, settings, expected_from_journal=expected_from_journal)
        if account is not None:
            other = self._names.setdefault((account.account, endpoint.region, endpoint.url), name)
            if other != name:
                raise UsageError(
                    f"account {account.account}, Region {endpoint.region} is the target {other}, too, and they would"
                    " share one quota; keep one of them"
                )
        return account
