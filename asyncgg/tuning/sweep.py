"""Rule: a sweep from its grid to its recommendation: what is tried, what is tried again with other dice. Blocking."""

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

__all__ = ["SweepResult", "default_batches", "run_sweep"]

_CANDIDATE_COUNT: Final = 4
_REPEATS: Final = 4
"""Runs of each candidate with other dice."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep came to."""

    setup: TrialSetup
    grid: Grid
    trials: tuple[Trial, ...]
    candidates: tuple[Trial, ...]
    """The candidates, best first, the chosen one before all."""
    recommendation: Recommendation | None
    ideal_seconds: float
    """Seconds that the quota itself takes."""
    seconds: float
    """Real ones, spent on it."""

    @property
    def service_seconds(self) -> float:
        """Time of the service that was gone through."""
        repeats = self.recommendation.repeats if self.recommendation else ()
        return sum(trial.seconds for trial in (*self.trials, *repeats))


def default_batches(quota: float) -> int:
    """Batches of a trial unless told: a quarter of a minute of the quota, enough for its burst to be used up."""
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
    """Try out every point of the grid and the `extra` ones, then the best few with other dice, and choose.

    `on_trial` is told how many trials are done, and of how many. Raises what `run_trials` and `Grid.points` raise.
    """
    started_at = time.monotonic()
    configs = list(dict.fromkeys([*grid.configurations(), *extra]))
    total = len(configs) + _CANDIDATE_COUNT * _REPEATS
    trials = run_trials(
        [(point, seed) for point in configs], setup, jobs=jobs, on_trial=lambda done: on_trial(done, total)
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
