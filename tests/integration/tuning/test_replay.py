"""Rule: a past run replayed from its journal: the service it met, and what its own settings take in a trial."""

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
from asyncgg.tuning.replay import RecordedRun, load_run, scenario_from_run
from asyncgg.tuning.sweep import run_sweep
from asyncgg.tuning.trial import TrialSetup

SCENARIO = Scenario(20, 15, JitteredLatency(0.06, 0.02))


def record_run(path: Path, rate: float, scenario: Scenario = SCENARIO, batches: int = 300) -> None:
    """A run against this service, recorded as its clock, the virtual one, had it."""
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
def throttled(tmp_path: Path) -> RecordedRun:
    """A run that was told 40/s where 20/s were to be had."""
    path = tmp_path / "past.journal"
    record_run(path, 40)
    return load_run(path)


def test_a_run_is_replayed_from_what_it_recorded(throttled: RecordedRun) -> None:
    """Quota and latencies are found again, and the run's own settings take as long in a trial as they took."""
    script, source = scenario_from_run(throttled)
    assert throttled.throttled > 0
    assert "throttle" in source
    assert script.quota == pytest.approx(20, rel=0.05)
    assert script.burst == pytest.approx(15, rel=0.2)
    latencies = throttled.latencies
    assert 0.06 <= latencies[0] < 0.065
    assert sum(latencies) / len(latencies) == pytest.approx(0.08, rel=0.1)
    assert (throttled.workload.batches, throttled.workload.cores) == (300, 30)
    grid = Grid((20.0,), (None,), (64,), (4,))
    result = run_sweep(
        grid, TrialSetup(script, throttled.workload, throttled.documented), jobs=1, extra=[throttled.config]
    )
    (own,) = (trial for trial in result.trials if trial.config == throttled.config)
    assert own.seconds == pytest.approx(throttled.seconds, rel=0.1)
    assert result.recommendation is not None
    assert result.recommendation.trial.config.rate == 20.0


def test_a_quota_told_counts_instead(throttled: RecordedRun) -> None:
    """--quota and --burst overrule what the journal shows."""
    script, source = scenario_from_run(throttled, quota=25.0, burst=9.0)
    assert (script.quota, script.burst, source) == (25.0, 9.0, "as told")


def test_a_run_without_throttles_shows_no_quota(tmp_path: Path) -> None:
    """Then the documented quota is assumed, and the line says that it is."""
    path = tmp_path / "past.journal"
    record_run(path, 10, batches=40)
    recorded = load_run(path)
    script, source = scenario_from_run(recorded)
    assert (recorded.throttled, recorded.fit, script.quota) == (0, None, 30)
    assert source.startswith("assumed")


def test_journals_keep_when_each_request_went_out(tmp_path: Path) -> None:
    """Sent, then answered, a latency apart; claimed before."""
    path = tmp_path / "past.journal"
    record_run(path, 10, batches=10)
    with JournalReader(path) as reader:
        requests = list(reader.requests())
    assert len(requests) == 30  # thirty cores with fewer than a hundred things each
    assert all(0.05 < one.answered_at - one.sent_at < 1 for one in requests)
    assert {one.verdict for one in requests} == {"accepted"}


def test_nothing_to_replay_is_told(tmp_path: Path) -> None:
    """No journal, and one that was never run, are one line each."""
    with pytest.raises(JournalError):
        load_run(tmp_path / "none.journal")
    path = tmp_path / "planned.journal"
    importer = Importer(path)
    importer.add([("core", "thing")])
    importer.finish({"run": "r", "state": "planned"})
    with pytest.raises(UsageError, match="nothing to replay"):
        load_run(path)
