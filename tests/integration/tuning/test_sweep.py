"""Tests of asyncgg.tuning.sweep."""

from __future__ import annotations

import re

import pytest

from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.grid import Grid
from asyncgg.tuning.models import Configuration, Workload
from asyncgg.tuning.report import format_sweep
from asyncgg.tuning.sweep import run_sweep
from asyncgg.tuning.trial import TrialSetup

SCENARIO = Scenario(30, 30, JitteredLatency(0.08, 0.04))


def test_run_sweep_recommends_the_quota() -> None:
    """The recommendation is the fastest without throttles, at most the quota, with reasons."""
    setup = TrialSetup(SCENARIO, Workload(180, 20))
    progress: list[tuple[int, int]] = []
    grid = Grid((15.0, 30.0, 45.0), (None, 20.0), (2, 8, 64), (4,))
    result = run_sweep(grid, setup, jobs=1, on_trial=lambda done, total: progress.append((done, total)))
    assert len(result.trials) == 18
    assert result.recommendation is not None
    assert result.recommendation.never_throttled
    assert result.recommendation.trial.config == Configuration(30.0, 20.0, 8, 4)
    assert len(result.recommendation.repeats) == 4
    assert result.ideal_seconds == pytest.approx(150 / 30)
    assert any("rate 45" in reason for reason in result.recommendation.reasons)
    assert any("concurrency 2" in reason for reason in result.recommendation.reasons)
    table = [line for line in format_sweep(result, ()) if re.match(r" *(rate/s|[\d.]+) ", line)]
    assert len(table) == 4
    assert len({len(line) for line in table}) == 1
    assert len(table[0]) <= 80
    assert progress[0] == (1, 34)
    assert progress[-1][0] <= 34


@pytest.mark.parametrize("background_rate", [20.0, 30.0])
def test_run_sweep_quota_used_by_other_clients_has_no_minimum_time(background_rate: float) -> None:
    """If other clients use the whole quota, the theoretical minimum is 0."""
    scenario = Scenario(20, 1, JitteredLatency(0.05, 0.0), background_rate=background_rate)
    result = run_sweep(Grid((5.0,), (1.0,), (2,), (2,)), TrialSetup(scenario, Workload(5, 1), 30.0), jobs=1)
    assert result.ideal_seconds == 0.0
