"""Rule: a sweep from its grid to its recommendation: what is tried, what is tried again with other dice. Blocking."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.tuning.choose import Choice, candidates, choose, ideal_seconds
from asyncgg.tuning.grid import Grid, mean_latency
from asyncgg.tuning.pool import run_trials
from asyncgg.tuning.trial import Setup
from asyncgg.tuning.values import Point, Trial

__all__ = ["Swept", "default_batches", "sweep"]

_CANDIDATES: Final = 4
_FURTHER: Final = 4
"""Runs of each candidate with other dice."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep came to."""

    setup: Setup
    grid: Grid
    trials: tuple[Trial, ...]
    best: tuple[Trial, ...]
    """The candidates, best first, the chosen one before all."""
    choice: Choice | None
    ideal: float
    """Seconds that the quota itself takes."""
    seconds: float
    """Real ones, spent on it."""

    @property
    def service_seconds(self) -> float:
        """Time of the service that was gone through."""
        further = self.choice.further if self.choice else ()
        return sum(trial.seconds for trial in (*self.trials, *further))


def default_batches(quota: float) -> int:
    """Batches of a trial unless told: a quarter of a minute of the quota, enough for its burst to be used up."""
    return round(min(3000.0, max(300.0, 15 * quota)))


def sweep(
    grid: Grid,
    setup: Setup,
    *,
    jobs: int | None = None,
    seed: int = 0,
    extra: Sequence[Point] = (),
    on_trial: Callable[[int, int], object] = lambda done, total: None,
) -> Swept:
    """Try out every point of the grid and the `extra` ones, then the best few with other dice, and choose.

    `on_trial` is told how many trials are done, and of how many. Raises what `run_trials` and `Grid.points` raise.
    """
    begun = time.monotonic()
    points = list(dict.fromkeys([*grid.points(), *extra]))
    total = len(points) + _CANDIDATES * _FURTHER
    trials = run_trials(
        [(point, seed) for point in points], setup, jobs=jobs, on_trial=lambda done: on_trial(done, total)
    )
    script = setup.script
    free = script.quota - script.background_rate
    in_flight = min(free, max(grid.rates)) * mean_latency(script)
    best = candidates(trials, _CANDIDATES, in_flight, free)
    orders = [(trial.point, seed + number) for trial in best for number in range(1, _FURTHER + 1)]
    again = run_trials(orders, setup, jobs=jobs, on_trial=lambda done: on_trial(len(points) + done, total))
    pairs: list[tuple[Trial, Sequence[Trial]]] = [
        (trial, again[number * _FURTHER : (number + 1) * _FURTHER]) for number, trial in enumerate(best)
    ]
    ideal = ideal_seconds(setup.work, free, script.burst)
    choice = choose(pairs, trials, ideal, in_flight)
    if choice is not None:
        best = [choice.trial, *(trial for trial in best if trial is not choice.trial)]
    return Swept(setup, grid, tuple(trials), tuple(best), choice, ideal, time.monotonic() - begun)
