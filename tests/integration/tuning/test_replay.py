"""Tests of asyncgg.tuning.replay with journals of real runs on the virtual clock."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from asyncgg.engine import Engine, EngineOptions, Lane
from asyncgg.errors import JournalError, UsageError
from asyncgg.journal import Importer, JournalReader, JournalStore, JournalWriter
from asyncgg.ratelimit import AdaptiveRate
from asyncgg.testing import FakeService, JitteredLatency, Scenario, run_virtual
from asyncgg.tuning.grid import Grid
from asyncgg.tuning.replay import RecordedRun, is_burst_assumed, load_run, scenario_from_run
from asyncgg.tuning.sweep import run_sweep
from asyncgg.tuning.trial import TrialSetup

SCENARIO = Scenario(20, 15, JitteredLatency(0.06, 0.02))


def record_run(path: Path, rate: float, scenario: Scenario = SCENARIO, batches: int = 300) -> None:
    """Run against a fake service and record the run with times of the virtual clock."""
    importer = Importer(path)
    importer.add([(f"core-{n % 30}", f"thing-{n}") for n in range(100 * batches)])
    importer.finish({"run": "past", "state": "planned", "settings": json.dumps({"rate": rate}), "region": "eu-west-1"})

    async def run() -> None:
        journal = JournalWriter(path, threaded=False, durable=False)
        try:
            await journal.submit(JournalStore.begin_resume)
            lane = Lane(FakeService(scenario), AdaptiveRate(rate))
            await Engine(journal, lane, EngineOptions()).run()
        finally:
            journal.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: 1.8e9 + asyncio.get_running_loop().time())
        run_virtual(run())


@pytest.fixture
def throttled_run(tmp_path: Path) -> RecordedRun:
    """A run at 40/s against a quota of 20/s."""
    path = tmp_path / "past.journal"
    record_run(path, 40)
    return load_run(path)


def test_scenario_from_run_reproduces_the_run(throttled_run: RecordedRun) -> None:
    """Quota and latencies are estimated, and a trial with the same settings takes the same time."""
    scenario, source = scenario_from_run(throttled_run)
    assert throttled_run.throttled > 0
    assert source.startswith("estimated")
    assert scenario.quota == pytest.approx(20, rel=0.05)
    assert scenario.burst == pytest.approx(15, rel=0.2)
    latencies = throttled_run.latencies
    assert 0.06 <= latencies[0] < 0.065
    assert sum(latencies) / len(latencies) == pytest.approx(0.08, rel=0.1)
    assert (throttled_run.workload.batches, throttled_run.workload.cores) == (300, 30)
    grid = Grid((20.0,), (None,), (64,), (4,))
    setup = TrialSetup(scenario, throttled_run.workload, throttled_run.documented)
    result = run_sweep(grid, setup, jobs=1, extra=[throttled_run.config])
    (baseline,) = (trial for trial in result.trials if trial.config == throttled_run.config)
    assert baseline.seconds == pytest.approx(throttled_run.seconds, rel=0.1)
    assert result.recommendation is not None
    assert result.recommendation.trial.config.rate == 20.0


def test_scenario_from_run_given_quota_and_burst_override_the_estimate(throttled_run: RecordedRun) -> None:
    """--quota and --burst have precedence over the journal."""
    scenario, source = scenario_from_run(throttled_run, quota=25.0, burst=9.0)
    assert (scenario.quota, scenario.burst, source) == (25.0, 9.0, "configured")


def test_scenario_from_run_without_throttles_assumes_the_documented_quota(tmp_path: Path) -> None:
    """Without throttles the documented quota is assumed, and the source says so."""
    path = tmp_path / "past.journal"
    record_run(path, 10, batches=40)
    recorded = load_run(path)
    scenario, source = scenario_from_run(recorded)
    assert (recorded.throttled, recorded.fit, scenario.quota) == (0, None, 30)
    assert source.startswith("assumed")
    assert is_burst_assumed(recorded, quota=None, burst=None)
    assert not is_burst_assumed(recorded, quota=None, burst=5.0)


def test_journal_records_request_times(tmp_path: Path) -> None:
    """The times of sending and of the reply differ by the latency."""
    path = tmp_path / "past.journal"
    record_run(path, 10, batches=10)
    with JournalReader(path) as reader:
        requests = list(reader.requests())
    assert len(requests) == 30  # 30 cores with fewer than 100 things each
    assert all(0.05 < row.answered_at - row.sent_at < 1 for row in requests)
    assert {row.verdict for row in requests} == {"accepted"}


def test_load_run_without_requests_raises(tmp_path: Path) -> None:
    """A missing journal and a journal that was never run are errors."""
    with pytest.raises(JournalError):
        load_run(tmp_path / "none.journal")
    path = tmp_path / "planned.journal"
    importer = Importer(path)
    importer.add([("core", "thing")])
    importer.finish({"run": "r", "state": "planned"})
    with pytest.raises(UsageError, match="nothing to replay"):
        load_run(path)
