"""Runs a clean-up policy in many targets: one ordinary run, with its own run directory, in each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from asyncgg.cleanup.context import effective_settings, load_keep_lists, merge_limits, policy_digest
from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.report import CleanupReport
from asyncgg.cleanup.runner import PolicyRunner
from asyncgg.errors import GuardError
from asyncgg.fleet.group import ActiveTargets, TargetResult
from asyncgg.formatting import format_count
from asyncgg.runs.connection import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import resolve_endpoint


class TotalLimit:
    """A limit on the things of all targets. A target sends when all targets of its wave have decided."""

    def __init__(self, waves: Sequence[Sequence[str]], limit: int) -> None:
        self._limit = limit
        self._selected = 0
        self._waves = [(set(names), asyncio.Event()) for names in waves]

    async def wait(self, name: str, things: int) -> None:
        """Add the things of a target and wait for the others. Raises `GuardError` if they are too many."""
        self._selected += things
        decided = next(event for names, event in self._waves if name in names)
        self.leave(name)
        await decided.wait()
        if self._selected > self._limit:
            raise GuardError(
                f"{format_count(self._selected, 'thing')} selected in all targets, --max-things allows"
                f" {self._limit:,}; nothing was sent"
            )

    def leave(self, name: str) -> None:
        """Wait no longer for a target: it has decided or ended."""
        for names, decided in self._waves:
            names.discard(name)
            if not names:
                decided.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCleanup:
    """A run of a policy in each target, in the state directory `folder`/TARGET."""

    policy: Policy
    settings: Mapping[str, Settings]
    """The settings of the targets by name; the stricter of their limits and those of the policy count."""
    folder: Path
    dry_run: bool = False
    limit: TotalLimit | None = None
    on_warning: Callable[[str, str], None] = lambda name, text: None
    """Gets each warning with its target."""

    async def run(self, active: ActiveTargets, name: str) -> TargetResult[CleanupReport]:
        """Run the policy in one target."""
        try:
            report = await self._run(active, name)
        finally:
            if self.limit is not None:
                self.limit.leave(name)
        return TargetResult(name, report.state.value, report.exit, " ".join(report.reason.split()), report)

    async def _run(self, active: ActiveTargets, name: str) -> CleanupReport:
        policy = await asyncio.to_thread(merge_limits, self.policy, self.settings[name])
        policy = replace(policy, state=replace(policy.state, folder=str((self.folder / name).absolute())))
        settings = effective_settings(self.settings[name], policy)
        endpoint = await asyncio.to_thread(resolve_endpoint, connection_from_settings(settings))
        keep_lists = await asyncio.to_thread(load_keep_lists, policy, settings, endpoint)
        account = await active.accounts.verify(name, endpoint, settings)
        runner = PolicyRunner(
            policy,
            settings,
            endpoint,
            digest=policy_digest(policy, keep_lists),
            lists=keep_lists,
            account=account,
            on_warning=partial(self.on_warning, name),
            before_sending=None if self.limit is None else partial(self.limit.wait, name),
        )
        active.attach(name, runner)
        return await runner.run(dry_run=self.dry_run)
