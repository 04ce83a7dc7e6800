"""Runs whose requests are answered by something else, or not at all, for a while (virtual time)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from asyncgg.classify import CodeTable
from asyncgg.engine import EngineOptions
from asyncgg.events import SendingPaused
from asyncgg.models import RunState, ThingState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.simulator.config import SimulatorConfig
from tests.support.engine import EngineHarness

pytestmark = pytest.mark.virtual

DONE, FAILED, PENDING = ThingState.DISASSOCIATED, ThingState.FAILED, ThingState.PENDING
PAGES = [f"page:{status}" for status in (302, 400, 401, 403, 404, 407, 451, 503)] + ["page-empty:403"]
OUTAGES = ["500", "503", "reset-before", "reset-after", "hang-before", "500-after", "garbage", "garbage-before", "half"]


def make_harness(path: Path, *faults: str, cores: int = 60, things: int = 10) -> EngineHarness:
    """A fleet of full batches with a high quota."""
    config = SimulatorConfig(cores=cores, things=things, rate=1000.0, burst=1000.0, latency_ms=50.0, fault=faults)
    return EngineHarness(path / "j", config, timeout=5.0)


@pytest.mark.parametrize("first", [1, 11])
@pytest.mark.parametrize("page", PAGES)
async def test_run_page_of_a_proxy_fails_nothing(tmp_path: Path, page: str, first: int) -> None:
    """Before and after the first success the run stops after `stall_timeout`, resumable."""
    harness = make_harness(tmp_path, f"{page}#{first}-99999")
    started = harness.loop.time()
    result = await harness.start(rate=30.0, options=EngineOptions(stall_timeout=120.0))
    assert (result.state, result.is_auth_error) == (RunState.ABORTED, False)
    status = page.rpartition(":")[2]
    assert f"HTTP {status} " in result.reason
    assert "(text/html), not from the service; check proxy and endpoint" in result.reason
    assert 120.0 <= harness.loop.time() - started < 160.0
    assert harness.outcome_rows(FAILED) == []
    assert len(harness.outcome_rows(DONE)) == 10 * (first - 1)
    assert {row.attempts for row in harness.outcome_rows(PENDING)} == {0}
    assert len(harness.transport.starts) < first + 60  # probes, not a full stream
    harness.service.set_faults([])
    assert (await harness.start()).state is RunState.COMPLETE
    harness.check_consistent()


@pytest.mark.parametrize("first", [1, 11])
@pytest.mark.parametrize("fault", [*OUTAGES, "page:503", "page-after:502"])
async def test_run_outlasts_an_outage_of_a_minute(tmp_path: Path, fault: str, first: int) -> None:
    """When everything fails for a minute, no thing loses an attempt and the run completes."""
    harness = make_harness(tmp_path, f"{fault}#{first}-99999")
    started = harness.loop.time()
    harness.loop.call_later(60.0, harness.service.set_faults, [])
    result = await harness.start(rate=30.0, options=EngineOptions(retry=RetryPolicy(max_attempts=1)))
    assert result.state is RunState.COMPLETE
    assert {row.attempts for row in harness.outcome_rows(DONE)} == {1}
    assert harness.loop.time() - started < 110.0
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_run_single_core_outlasts_an_outage(tmp_path: Path) -> None:
    """A run of one core is no exception: its batches fail because everything fails."""
    harness = make_harness(tmp_path, "500#11-99999", cores=1, things=2000)
    harness.loop.call_later(55.0, harness.service.set_faults, [])
    result = await harness.start(rate=30.0, options=EngineOptions(retry=RetryPolicy(max_attempts=1)))
    assert result.state is RunState.COMPLETE


async def test_run_pauses_with_growing_backoff_and_sends_probes(tmp_path: Path) -> None:
    """In an outage one request at a time is sent, each after a longer pause."""
    harness = make_harness(tmp_path, "503#11-99999")
    await harness.start(rate=100.0, options=EngineOptions(stall_timeout=100.0))
    probes = [time for time, _, _ in harness.transport.starts][-8:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert min(gaps[-4:]) >= 8.0
    assert max(gaps) <= 20.2
    assert len([event for event in harness.events if isinstance(event, SendingPaused)]) >= 8


async def test_run_unreachable_endpoint_moment_is_one_backoff(tmp_path: Path) -> None:
    """Dozens of requests that cannot be sent at the same time bring one short pause, not many."""
    harness = make_harness(tmp_path, "hang-before#2-33", cores=200)
    await harness.start(rate=1000.0, burst=100.0, options=EngineOptions(concurrency=32))
    pauses = [event.seconds for event in harness.events if isinstance(event, SendingPaused)]
    assert sum(pauses) < 2.0


async def test_run_page_for_one_core_never_fails_it(tmp_path: Path) -> None:
    """Something that blocks one core alone: the others are done, its things stay pending."""
    harness = make_harness(tmp_path, cores=20)
    core = harness.pairs[0][0]
    harness.service.set_faults([f"page:403@{core}"])
    result = await harness.start(options=EngineOptions(stall_timeout=60.0))
    assert result.state is RunState.ABORTED
    assert {row.core for row in harness.outcome_rows(PENDING)} == {core}
    assert harness.outcome_rows(FAILED) == []


async def test_run_forwarded_request_is_possibly_sent(tmp_path: Path) -> None:
    """A gateway may have forwarded what it answers: "not found" at the next attempt means done."""
    harness = make_harness(tmp_path, "page-after:504#1", cores=1)
    result = await harness.start(options=EngineOptions(codes=CodeTable(absent_ok=False)))
    assert result.state is RunState.COMPLETE
    assert {row.code for row in harness.outcome_rows(ThingState.ALREADY)} == {"ResourceNotFoundException"}


async def test_run_last_core_that_fails_alone_fails(tmp_path: Path) -> None:
    """With nothing else to send, a core that always returns 500 fails after its attempts."""
    harness = make_harness(tmp_path, cores=1)
    harness.service.set_faults(["500"])
    result = await harness.start(options=EngineOptions(retry=RetryPolicy(max_attempts=4)))
    assert result.state is RunState.PARTIAL
    assert {(row.code, row.attempts) for row in harness.outcome_rows(FAILED)} == {("InternalServerException", 4)}
