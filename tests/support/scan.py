"""Complete scans in this process on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from asyncgg.engine import Lane
from asyncgg.events import Event
from asyncgg.inventory import FleetScan, ScanOptions, ScanResult, Snapshot, scan_fleet
from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, Reply
from asyncgg.ratelimit import AdaptiveRate
from asyncgg.retry_policy import RetryPolicy
from asyncgg.simulator import FleetSpec
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Delivery, Request
from asyncgg.testing import FixedRate, run_virtual
from asyncgg.transport.base import CoreFilter, Page
from asyncgg.transport.list_responses import parse_core_page, parse_device_page
from asyncgg.transport.responses import HttpResponse

__all__ = ["DENIED", "InProcessListing", "ScanHarness", "fleet_of_sizes", "make_snapshot", "snapshot_associations"]

DENIED = ErrorResponse(403, "AccessDeniedException", "no")

_HEADERS = {
    "authorization": "AWS4-HMAC-SHA256 Credential=AKIDDIRECT/20260101/us-east-1/greengrass/aws4_request, "
    f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
    "host": "direct",
    "x-amz-date": "20260101T000000Z",
}


def fleet_of_sizes(sizes: Mapping[str, int] | Sequence[int]) -> FleetSpec:
    """A fleet with these numbers of things per core; names are unique."""
    sizes_by_core = (
        sizes if isinstance(sizes, Mapping) else {f"core-{number:03}": size for number, size in enumerate(sizes)}
    )
    return FleetSpec.from_things(
        {core: [f"{core}-{number:04}" for number in range(size)] for core, size in sizes_by_core.items()}, 7.0
    )


@dataclass
class InProcessListing:
    """List operations on a Service in this process; latency passes on the clock of the loop."""

    service: Service
    timeout: float = 5.0
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Core and token of each request; the core is empty for the list of cores."""
    on_refresh: Callable[[], Awaitable[None]] = field(default=partial(asyncio.sleep, 0.01))
    intercept: Callable[[str, str], Any] = lambda core, token: None
    """Called before each request; a result other than None replaces the response."""

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Not supported."""
        raise NotImplementedError

    async def refresh(self) -> None:
        """Refresh the credentials as the test defines it."""
        await self.on_refresh()

    async def list_cores(
        self, token: str, filters: CoreFilter, limit: int = 100
    ) -> Page[CoreDevice] | ErrorResponse | NoResponse:
        """A page of cores."""
        query = {
            "thingGroupArn": filters.thing_group_arn,
            "status": filters.status,
            "runtime": filters.runtime,
            "maxResults": f"{limit}",
        }
        response = await self._get("", token, "/greengrass/v2/coreDevices", query)
        return parse_core_page(response, 0.0) if isinstance(response, HttpResponse) else response

    async def list_client_devices(self, core: str, token: str) -> Page[ClientDevice] | ErrorResponse | NoResponse:
        """A page of client devices."""
        response = await self._get(
            core, token, f"/greengrass/v2/coreDevices/{quote(core, safe='')}/associatedClientDevices"
        )
        return parse_device_page(response, 0.0) if isinstance(response, HttpResponse) else response

    async def _get(self, core: str, token: str, path: str, extra: Mapping[str, str] | None = None) -> Any:
        self.requests.append((core, token))
        one_way_latency = self.service.config.latency_ms / 2000
        await asyncio.sleep(one_way_latency)
        if (replacement := self.intercept(core, token)) is not None:
            await asyncio.sleep(one_way_latency)
            return replacement
        parameters = {"maxResults": "100", "nextToken": token, **(extra or {})}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items() if value)
        response = self.service.handle(
            Request("GET", f"{path}?{query}", _HEADERS, b""), asyncio.get_running_loop().time()
        )
        remaining_delay = response.delay - one_way_latency
        if response.delivery is Delivery.HANG or response.delay > self.timeout:
            await asyncio.sleep(max(0.0, self.timeout - one_way_latency))
            return NoResponse("timeout", "no answer", sent=True)
        await asyncio.sleep(remaining_delay)
        if response.delivery is not Delivery.REPLY:
            return NoResponse("reset", "connection reset by peer", sent=True)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, headers, response.body)


class ScanHarness:
    """A simulated service and the snapshot of its fleet; create it in the virtual loop."""

    def __init__(self, path: Path, plan: FleetSpec, **config: Any) -> None:
        self.path = path
        self.loop = asyncio.get_running_loop()
        settings = SimulatorConfig(**{"rate": float("inf"), "latency_ms": 20.0, **config})
        self.service = Service(settings, fleet_spec=plan, now=self.loop.time())
        self.transport = InProcessListing(self.service)
        self.events: list[Event] = []
        self.lane: Lane | None = None
        self.scan: FleetScan | None = None

    async def start(
        self,
        *,
        rate: float = 100.0,
        burst: float = 5.0,
        adaptive: bool = False,
        options: ScanOptions | None = None,
        **extra: Any,
    ) -> ScanResult:
        """Start or continue the scan."""
        policy_class = AdaptiveRate if adaptive else FixedRate
        self.lane = Lane(self.transport, policy_class(rate, burst=burst))
        return await scan_fleet(
            self.path,
            self.lane,
            self.transport,
            options=options or ScanOptions(retry=RetryPolicy(max_attempts=50)),
            listeners=[self.events.append],
            on_scan=self._on_scan,
            threaded=False,
            **extra,
        )

    def _on_scan(self, scan: FleetScan) -> None:
        self.scan = scan

    def events_of(self, kind: type) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def check_snapshot(self) -> None:
        """Assert that the snapshot has the associations of the fleet with their times."""
        assert snapshot_associations(self.path) == {
            (core, thing): at for core, things in self.service.fleet.things.items() for thing, at in things.items()
        }


def snapshot_associations(path: Path) -> dict[tuple[str, str], float | None]:
    """The associations of a snapshot, which must be unique."""
    with Snapshot(path) as snapshot:
        rows = list(snapshot.associations())
        result = {(core, thing): at for core, thing, at in rows}
        assert len(result) == len(rows) == snapshot.counts().associations
    return result


def make_snapshot(path: Path, spec: FleetSpec, *, denied: str = "", **options: object) -> Path:
    """A complete snapshot of a simulated fleet; the core `denied` cannot be listed."""

    async def run_scan() -> None:
        harness = ScanHarness(path, spec)
        harness.transport.intercept = lambda core, token: DENIED if denied and core == denied else None
        await harness.start(**options)  # type: ignore[arg-type]  # options of the scan

    run_virtual(run_scan())
    return path
