"""Tests of asyncgg.tuning.trial."""

from __future__ import annotations

import pytest

from asyncgg.errors import UsageError
from asyncgg.testing import JitteredLatency, Scenario, ScenarioFault, ScheduledChange
from asyncgg.tuning.models import Configuration, Trial, Workload
from asyncgg.tuning.trial import TrialJournals, TrialSetup, run_trial

SCENARIO = Scenario(30, 30, JitteredLatency(0.08, 0.04))


def run_one_trial(
    configuration: Configuration, scenario: Scenario = SCENARIO, batches: int = 200, cores: int = 20
) -> Trial:
    """Run one trial."""
    setup = TrialSetup(scenario, Workload(batches, cores))
    with TrialJournals(setup.workload) as journals:
        return run_trial(configuration, setup, journals)


def test_run_trial_at_quota_takes_the_minimum_time() -> None:
    """At the rate of the quota the duration is batches / rate, without throttles."""
    result = run_one_trial(Configuration(30, None, 64, 4))
    assert result.complete
    assert (result.sent, result.throttled) == (200, 0)
    assert result.seconds == pytest.approx(200 / 30, rel=0.05)


@pytest.mark.parametrize(
    ("config", "cores", "limit"),
    [(Configuration(30, None, 1, 1), 20, 1 / 0.12), (Configuration(30, None, 64, 2), 1, 2 / 0.12)],
    ids=["concurrency", "per-core"],
)
def test_run_trial_low_concurrency_limits_the_rate(config: Configuration, cores: int, limit: float) -> None:
    """With a low concurrency, in total or per core, the latency limits the rate."""
    result = run_one_trial(config, cores=cores)
    assert result.sent / result.seconds == pytest.approx(limit, rel=0.15)
    assert result.max_in_flight == (1 if cores > 1 else 2)


def test_run_trial_above_quota_is_throttled_and_completes() -> None:
    """The rate policy adapts: all batches are done with few throttles."""
    result = run_one_trial(Configuration(45, None, 64, 4), batches=400)
    assert result.complete
    assert 0 < result.throttled < 20
    assert result.sent == 400 + result.throttled


def test_run_trial_applies_faults_and_changes() -> None:
    """Failed requests are sent again, and a lower quota takes longer."""
    failing = run_one_trial(Configuration(30, None, 64, 4), Scenario(30, 30, faults=(ScenarioFault(share=0.1),)))
    assert failing.sent > 210
    halved = run_one_trial(
        Configuration(30, None, 64, 4), Scenario(30, 5, changes=(ScheduledChange(2, quota=15),)), batches=300
    )
    assert halved.seconds > 1.5 * 300 / 30
    assert halved.complete


def test_workload_is_spread_evenly() -> None:
    """Seven batches on three cores are 3, 2 and 2, and all are sent."""
    assert [Workload(7, 3).batches_for_core(number) for number in range(3)] == [3, 2, 2]
    assert run_one_trial(Configuration(30, None, 4, 4), batches=7, cores=3).sent == 7
    assert run_one_trial(Configuration(30, None, 4, 4), batches=2, cores=5).sent == 2
    with pytest.raises(UsageError):
        Workload(0, 1)
