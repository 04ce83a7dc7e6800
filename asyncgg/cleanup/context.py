"""Rule: what a night works with, and its two ways to Greengrass (a sweep, a run), live here; no order of steps does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.reins import StopController
from asyncgg.engine import RunResult
from asyncgg.events import Listener
from asyncgg.inventory import Origin, ScanResult
from asyncgg.models import Summary
from asyncgg.ratelimit import RampPlan
from asyncgg.runs import execute
from asyncgg.runs.scan import FullTransport, scan_with_settings
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, CoreFilter, Endpoint

__all__ = ["MAX_SCAN_AGE", "PolicyContext", "core_filter"]

MAX_SCAN_AGE = 6 * 3600.0
"""Seconds for which a sweep may still be gone on with and decided by: no clean-up goes by an older view."""


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What one start of a policy works with; `transport` replaces the one made from the settings."""

    settings: Settings
    """Under the policy's guards."""
    endpoint: Endpoint
    account: CallerIdentity | None
    stop_controller: StopController
    listeners: Sequence[Listener] = ()
    on_stage: Callable[[str], None] = lambda words: None
    transport: FullTransport | None = None

    @property
    def origin(self) -> Origin:
        """Whose fleet it is about."""
        return Origin(self.account.account if self.account else "", self.endpoint.region, self.endpoint.url)

    async def scan(
        self,
        path: Path,
        *,
        filters: CoreFilter | None = None,
        cores: Sequence[str] | None = None,
        is_top_level: bool = True,
    ) -> ScanResult:
        """As `scan_with_settings`; `seen`: whether it is stopped and watched by itself, and not as a part of something."""
        return await scan_with_settings(
            path,
            self.stop_controller.with_remaining_deadline(self.settings),
            self.endpoint,
            account=self.account,
            filters=filters,
            cores=cores,
            max_age=MAX_SCAN_AGE,
            transport=self.transport,
            listeners=self.listeners,
            on_scan=self.stop_controller.attach if is_top_level else None,
        )

    async def execute(
        self, journal: Path, *, limit: int | None = None, ramp: RampPlan | None = None
    ) -> tuple[RunResult, Summary]:
        """As `asyncgg.runs.execute`."""
        return await execute(
            journal,
            self.stop_controller.with_remaining_deadline(self.settings),
            region=self.endpoint.region,
            account=self.account,
            transport=self.transport,
            listeners=self.listeners,
            on_engine=self.stop_controller.attach,
            limit=limit,
            ramp=ramp,
        )


def core_filter(policy: Policy) -> CoreFilter:
    """What of the policy's sources the service itself can filter by."""
    sources = policy.sources
    return CoreFilter(sources.thing_group or "", sources.status or "", sources.runtime or "")
