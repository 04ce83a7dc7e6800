"""Rule: one start of a sweep as the settings say it: transport, lane, origin; what is listed is the caller's wish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from asyncgg.engine import Lane
from asyncgg.events import Listener
from asyncgg.inventory import MAX_SCAN_AGE, FleetScan, Origin, ScanOptions, ScanResult, scan_fleet
from asyncgg.ratelimit import AdaptiveRate
from asyncgg.retry_policy import RetryPolicy
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.pace import rate_policy
from asyncgg.runs.plan import effective_quota
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, CoreFilter, Endpoint, Transport, open_transport
from asyncgg.transport.base import ListingTransport

__all__ = ["FullTransport", "scan_options", "scan_rate", "scan_with_settings"]


class FullTransport(Transport, ListingTransport, Protocol):
    """What sends and reads, as every transport does that is made from settings."""


def scan_options(settings: Settings, *, max_age: float = MAX_SCAN_AGE) -> ScanOptions:
    """How a sweep is to behave with these settings."""
    return ScanOptions(
        concurrency=settings.concurrency,
        retry=RetryPolicy(settings.max_attempts, settings.max_attempts_unknown),
        stall_timeout=settings.stall_timeout,
        deadline=settings.deadline,
        max_age=max_age,
    )


def scan_rate(settings: Settings, region: str) -> AdaptiveRate:
    """The rate of a sweep: a told one is begun at its half at least, where a run feels its way up from the quota.

    What is read can be read again: a throttle costs a sweep a request, and never an outcome.
    """
    if settings.rate is None or settings.quota_share < 1:
        return rate_policy(settings, region)
    documented = max(effective_quota(settings, region), settings.rate / 2)
    return AdaptiveRate(settings.rate, documented=documented, burst=settings.burst)


async def scan_with_settings(
    path: Path,
    settings: Settings,
    target: Endpoint,
    *,
    account: CallerIdentity | None = None,
    filters: CoreFilter | None = None,
    cores: Sequence[str] | None = None,
    max_age: float = MAX_SCAN_AGE,
    transport: FullTransport | None = None,
    listeners: Sequence[Listener] = (),
    on_scan: Callable[[FleetScan], object] | None = None,
) -> ScanResult:
    """Sweep the fleet of `target`, or just `cores`, into the snapshot at `path`; see `asyncgg.inventory.scanner`.

    `transport` replaces the one made from the settings.

    Raises what that raises, and `CredentialsError` when there are no credentials.
    """
    options = scan_options(settings, max_age=max_age)
    async with AsyncExitStack() as stack:
        if transport is None:
            transport = await stack.enter_async_context(
                open_transport(connection_from_settings(settings), settings.transport)
            )
        lane = Lane(transport, scan_rate(settings, target.region), retry=options.retry)
        return await scan_fleet(
            path,
            lane,
            transport,
            origin=Origin(account.account if account else "", target.region, target.url),
            filters=filters,
            cores=cores,
            options=options,
            listeners=listeners,
            on_scan=on_scan,
        )
