"""Scans whose requests are answered by something else, denied, or not answered (virtual time)."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.events import CoreScanFailed
from asyncgg.inventory import ScanOptions
from asyncgg.models import RunState
from asyncgg.retry_policy import RetryPolicy
from tests.support.scan import DENIED, ScanHarness, fleet_of_sizes

pytestmark = pytest.mark.virtual

PAGES = [f"page:{status}" for status in (302, 400, 401, 403, 404, 407, 451, 503)] + ["page-empty:403"]


@pytest.mark.parametrize("first", [1, 12])
@pytest.mark.parametrize("page", PAGES)
async def test_scan_page_of_a_proxy_fails_no_core(tmp_path: Path, page: str, first: int) -> None:
    """Before and after the first success the scan stops after `stall_timeout`, resumable."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 60), fault=(f"{page}#{first}-99999",))
    result = await harness.start(rate=30.0, options=ScanOptions(stall_timeout=120.0))
    assert (result.state, result.is_auth_error) == (RunState.ABORTED, False)
    assert f"HTTP {page.rpartition(':')[2]} " in result.reason
    assert "(text/html), not from the service; check proxy and endpoint" in result.reason
    assert (result.counts.failed, result.counts.denied, result.counts.vanished) == (0, 0, 0)
    assert harness.events_of(CoreScanFailed) == []
    assert result.sent < first + 60
    harness.service.set_faults([])
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


@pytest.mark.parametrize("fault", ["500", "503", "reset", "hang", "page:502"])
async def test_scan_outlasts_an_outage_of_a_minute(tmp_path: Path, fault: str) -> None:
    """When everything fails for a minute, no list loses an attempt and the scan completes."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 60), fault=(f"{fault}#12-99999",))
    harness.loop.call_later(60.0, harness.service.set_faults, [])
    result = await harness.start(rate=30.0, options=ScanOptions(retry=RetryPolicy(max_attempts=1)))
    assert result.state is RunState.COMPLETE
    harness.check_snapshot()


async def test_scan_denied_cores_at_the_head_do_not_stop(tmp_path: Path) -> None:
    """Thirty denied cores at the head of 120 are denied alone, and each is asked once."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 120))
    denied = {f"core-{number:03}" for number in range(30)}
    harness.transport.intercept = lambda core, token: DENIED if core in denied else None
    result = await harness.start(rate=1000.0, burst=100.0)
    assert (result.state, result.counts.denied, result.counts.listed) == (RunState.PARTIAL, 30, 90)
    assert {event.core for event in harness.events_of(CoreScanFailed)} == denied
    assert result.sent == 122


async def test_scan_permission_withdrawn_stops_and_is_resumable(tmp_path: Path) -> None:
    """Ten cores in a row stop; they wait in the snapshot and are not denied."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 250))
    harness.transport.intercept = lambda core, token: DENIED if core and len(harness.transport.requests) > 20 else None
    result = await harness.start(rate=30.0)
    assert (result.state, result.is_auth_error, result.counts.denied) == (RunState.ABORTED, True, 0)
    assert 30 <= result.sent <= 40
    harness.transport.intercept = lambda core, token: None
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_snapshot()


async def test_scan_waits_for_the_list_of_cores_before_it_stops(tmp_path: Path) -> None:
    """The first page of cores is denied, the later ones are not: they are asked before a stop."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 350))
    harness.transport.intercept = lambda core, token: DENIED if core and core < "core-100" else None
    result = await harness.start(rate=1000.0, burst=100.0)
    assert (result.state, result.counts.denied, result.counts.listed) == (RunState.PARTIAL, 100, 250)


async def test_scan_continue_when_denied_asks_every_core(tmp_path: Path) -> None:
    """With the option a scan ends although every core is denied."""
    harness = ScanHarness(tmp_path / "fleet.db", fleet_of_sizes([1] * 50))
    harness.transport.intercept = lambda core, token: DENIED if core else None
    result = await harness.start(options=ScanOptions(continue_when_denied=True))
    assert (result.state, result.counts.denied, result.sent) == (RunState.PARTIAL, 50, 51)
