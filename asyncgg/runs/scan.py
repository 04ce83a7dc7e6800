"""Scans the fleet with the transport, lane and origin of the settings."""

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
from asyncgg.runs.connection import connection_from_settings
from asyncgg.runs.plan import effective_quota, rate_policy
from asyncgg.settings import Settings
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.observers import open_telemetry
from asyncgg.transport import CallerIdentity, CoreFilter, Endpoint, Transport, open_transport
from asyncgg.transport.base import ListingTransport


class FullTransport(Transport, ListingTransport, Protocol):
    """Sends batches and lists; every transport built from settings does both."""


def scan_options(settings: Settings, *, max_age: float = MAX_SCAN_AGE) -> ScanOptions:
    """The scan options for these settings."""
    return ScanOptions(
        concurrency=settings.concurrency,
        retry=RetryPolicy(settings.max_attempts, settings.max_attempts_unknown),
        stall_timeout=settings.stall_timeout,
        deadline=settings.deadline,
        continue_when_denied=settings.continue_when_denied,
        max_age=max_age,
    )


def scan_rate(settings: Settings, region: str) -> AdaptiveRate:
    """The rate policy of a scan: a configured rate starts at half of the rate or at the quota.

    A throttled read costs one request and no outcome, so a scan starts faster than a run.
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
    policy: str = "",
) -> ScanResult:
    """Scan the fleet of `target`, or only `cores`, into the snapshot at `path`; see `scan_fleet`.

    `policy`: the name of the policy that the scan is for. `transport` replaces the one built from
    the settings. Raises as `scan_fleet` and `open_telemetry`, and `CredentialsError` if there are no
    credentials.
    """
    options = scan_options(settings, max_age=max_age)
    labels = TelemetryLabels("scan", account.account if account else "", target.region, policy)
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(open_telemetry(settings, labels))
        if transport is None:
            transport = await stack.enter_async_context(
                open_transport(connection_from_settings(settings), settings.transport)
            )
        lane = Lane(transport, scan_rate(settings, target.region), retry=options.retry)
        return await scan_fleet(
            path,
            lane,
            transport,
            origin=Origin(labels.account, target.region, target.url),
            filters=filters,
            cores=cores,
            options=options,
            listeners=[*listeners, *telemetry.listeners],
            on_scan=telemetry.watching(on_scan),
        )
