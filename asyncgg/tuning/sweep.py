"""Run a parameter sweep: try a grid of configurations, repeat the best ones, recommend one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.tuning.grid import Grid, mean_latency
from asyncgg.tuning.models import Configuration, Trial
from asyncgg.tuning.recommend import Recommendation, candidates, ideal_seconds, recommend
from asyncgg.tuning.trial import TrialSetup
from asyncgg.tuning.workers import run_trials

_CANDIDATE_COUNT: Final = 4
_REPEATS: Final = 4
"""Additional trials of each candidate with other random seeds."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of a sweep."""

    setup: TrialSetup
    grid: Grid
    trials: tuple[Trial, ...]
    candidates: tuple[Trial, ...]
    """The best trials; the recommended one is first."""
    recommendation: Recommendation | None
    ideal_seconds: float
    """Minimum duration that the quota allows, in seconds."""
    seconds: float
    """Real time that the sweep took."""

    @property
    def service_seconds(self) -> float:
        """Simulated service time of all trials."""
        repeats = self.recommendation.repeats if self.recommendation else ()
        return sum(trial.seconds for trial in (*self.trials, *repeats))


def default_batches(quota: float) -> int:
    """Return the default batches of a trial: 15 seconds at the quota, enough to use up a burst."""
    return round(min(3000.0, max(300.0, 15 * quota)))


def run_sweep(
    grid: Grid,
    setup: TrialSetup,
    *,
    jobs: int | None = None,
    seed: int = 0,
    extra: Sequence[Configuration] = (),
    on_trial: Callable[[int, int], object] = lambda done, total: None,
) -> SweepResult:
    """Try the grid and the `extra` configurations, repeat the best and recommend one. Blocking.

    `on_trial` gets the trials done and their total. Raises the errors of `run_trials` and
    `Grid.configurations`.
    """
    started_at = time.monotonic()
    configs = list(dict.fromkeys([*grid.configurations(), *extra]))
    total = len(configs) + _CANDIDATE_COUNT * _REPEATS
    trials = run_trials(
        [(config, seed) for config in configs], setup, jobs=jobs, on_trial=lambda done: on_trial(done, total)
    )
    scenario = setup.scenario
    available_rate = scenario.quota - scenario.background_rate
    in_flight = min(available_rate, max(grid.rates)) * mean_latency(scenario)
    ranked = candidates(trials, _CANDIDATE_COUNT, in_flight, available_rate)
    specs = [(trial.config, seed + number) for trial in ranked for number in range(1, _REPEATS + 1)]
    repeats = run_trials(specs, setup, jobs=jobs, on_trial=lambda done: on_trial(len(configs) + done, total))
    pairs: list[tuple[Trial, Sequence[Trial]]] = [
        (trial, repeats[number * _REPEATS : (number + 1) * _REPEATS]) for number, trial in enumerate(ranked)
    ]
    ideal = ideal_seconds(setup.workload, available_rate, scenario.burst)
    recommendation = recommend(pairs, trials, ideal, in_flight)
    if recommendation is not None:
        ranked = [recommendation.trial, *(trial for trial in ranked if trial is not recommendation.trial)]
    return SweepResult(setup, grid, tuple(trials), tuple(ranked), recommendation, ideal, time.monotonic() - started_at)
