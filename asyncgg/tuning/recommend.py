"""Choose the configuration to recommend from trials, with the reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.tuning.models import Configuration, Trial, Workload

_TIE_TOLERANCE: Final = 0.005
"""Relative difference of durations that counts as equal."""
_HEADROOM: Final = 2.0
"""Preferred concurrency relative to the mean requests in flight, since latencies can double."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended configuration."""

    trial: Trial
    """Its trial in the sweep."""
    repeats: tuple[Trial, ...]
    """Its trials with other random seeds."""
    reasons: tuple[str, ...]
    """Phrases, the most important first."""

    @property
    def never_throttled(self) -> bool:
        """Whether no trial was throttled."""
        return not any(trial.throttled for trial in (self.trial, *self.repeats))


def ideal_seconds(workload: Workload, quota: float, burst: float) -> float:
    """Return the minimum duration at `quota`; 0 if the quota is infinite or not above 0."""
    return 0.0 if math.isinf(quota) or quota <= 0 else max(0.0, (workload.batches - burst) / quota)


def candidates(trials: Iterable[Trial], count: int, in_flight: float, available_rate: float) -> list[Trial]:
    """Return the best trials: the fastest without throttles, otherwise those throttled least.

    Rates above `available_rate` are excluded if any other trial completed: a short trial can hide
    the throttles of a long one. Among equally fast trials the smallest burst comes first, then the
    smallest concurrency with headroom over `in_flight`, the mean requests in flight at the quota.
    """
    finished = [trial for trial in trials if trial.complete]
    finished = [trial for trial in finished if trial.config.rate <= available_rate] or finished
    if unthrottled := [trial for trial in finished if not trial.throttled]:
        return _rank(unthrottled, count, in_flight, lambda trial: trial.seconds)
    return _rank(finished, count, in_flight, lambda trial: (trial.throttled_share + 0.01) * trial.seconds)


def recommend(
    ranked: Sequence[tuple[Trial, Sequence[Trial]]], trials: Sequence[Trial], ideal: float, in_flight: float
) -> Recommendation | None:
    """Return the first ranked candidate that was never throttled, otherwise the first one.

    Each candidate comes with its repeats. `ideal` is the result of `ideal_seconds`. Return None
    without candidates.
    """
    if not ranked:
        return None
    unthrottled = [
        candidate for candidate in ranked if not any(trial.throttled for trial in (candidate[0], *candidate[1]))
    ]
    trial, repeats = (unthrottled or ranked)[0]
    return Recommendation(trial, tuple(repeats), tuple(_reasons(trial, repeats, trials, ideal, in_flight)))


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that no other beats in both duration and throttled share, fastest first."""
    front: list[Trial] = []
    lowest_share = math.inf
    for trial in sorted(trials, key=lambda trial: (trial.seconds, trial.throttled_share)):
        if trial.complete and trial.throttled_share < lowest_share:
            lowest_share = trial.throttled_share
            front.append(trial)
    return front


def describe(config: Configuration) -> str:
    """Return the configuration as text."""
    burst = "auto" if config.burst is None else f"{config.burst:g}"
    return f"rate {config.rate:g}, burst {burst}, concurrency {config.concurrency}, per core {config.per_core}"


def _rank(trials: Iterable[Trial], count: int, in_flight: float, cost: Callable[[Trial], float]) -> list[Trial]:
    remaining = sorted(trials, key=cost)
    ranked: list[Trial] = []
    while remaining and len(ranked) < count:
        limit = cost(remaining[0]) * (1 + _TIE_TOLERANCE)
        tied = [trial for trial in remaining if cost(trial) <= limit]
        first = min(tied, key=lambda trial: _tie_break(trial.config, in_flight))
        ranked.append(first)
        # A candidate that differs only in concurrency adds no information.
        rate_and_burst = (first.config.rate, first.config.burst)
        remaining = [trial for trial in remaining if (trial.config.rate, trial.config.burst) != rate_and_burst]
    return ranked


def _tie_break(config: Configuration, in_flight: float) -> tuple[float, bool, int, int, float]:
    lacks_headroom = config.concurrency < _HEADROOM * in_flight
    concurrency = -config.concurrency if lacks_headroom else config.concurrency
    return config.burst or 0.0, lacks_headroom, concurrency, config.per_core, config.rate


def _reasons(
    chosen: Trial, repeats: Sequence[Trial], trials: Sequence[Trial], ideal: float, in_flight: float
) -> Iterable[str]:
    runs = [chosen, *repeats]
    throttled = sum(trial.throttled for trial in runs)
    above_ideal = f" ({100 * (chosen.seconds / ideal - 1):.1f} % above the theoretical minimum)" if ideal else ""
    if throttled:
        share = 100 * throttled / sum(trial.sent for trial in runs)
        yield f"every configuration was throttled; best trade-off shown ({share:.2f} % throttled)"
        yield f"duration: {chosen.seconds:.1f} s{above_ideal}"
    else:
        runs_note = f" in {len(runs)} trials with different random seeds" if repeats else ""
        yield f"fastest: {chosen.seconds:.1f} s{above_ideal}, no throttles{runs_note}"
    faster = [trial for trial in trials if trial.complete and trial.seconds < chosen.seconds * (1 - _TIE_TOLERANCE)]
    if faster:
        best_faster = min(faster, key=lambda trial: (trial.throttled_share, trial.seconds))
        gain = chosen.seconds - best_faster.seconds
        drawback = (
            f"has {100 * best_faster.throttled_share:.2f} % throttled" if best_faster.throttled else "exceeds the quota"
        )
        yield f"faster but not better: {describe(best_faster.config)} saves {gain:.2f} s but {drawback}"
    elif higher_rates := [trial for trial in trials if trial.config.rate > chosen.config.rate and trial.throttled]:
        worst = max(higher_rates, key=lambda trial: trial.throttled_share)
        percent = f"{100 * worst.throttled_share:.2f} %"
        yield f"a higher rate is not faster: {worst.config.rate:g}/s takes {worst.seconds:.1f} s, {percent} throttled"
    if lower_concurrency := _neighbours(chosen, trials, "concurrency"):
        slowest = max(lower_concurrency, key=lambda trial: trial.seconds)
        if slowest.seconds > chosen.seconds * (1 + _TIE_TOLERANCE):
            yield (
                f"about {in_flight:.1f} requests in flight on average: concurrency {slowest.config.concurrency}"
                f" takes {slowest.seconds:.1f} s, {chosen.config.concurrency} leaves headroom for slower replies"
            )
    if smaller_bursts := _neighbours(chosen, trials, "burst"):
        smallest_burst = min(smaller_bursts, key=lambda trial: trial.config.burst or 0.0)
        gain = smallest_burst.seconds - chosen.seconds
        if gain > chosen.seconds * _TIE_TOLERANCE:
            burst_label = "auto" if smallest_burst.config.burst is None else f"{smallest_burst.config.burst:g}"
            yield f"the burst saves {gain:.1f} s over {burst_label}, once per run, unless other clients use it"


def _neighbours(chosen: Trial, trials: Iterable[Trial], field: str) -> list[Trial]:
    """Return the trials with a smaller `field` and otherwise the same configuration."""

    def other_values(config: Configuration) -> tuple[object, ...]:
        return tuple(getattr(config, name) for name in ("rate", "burst", "concurrency") if name != field)

    value = getattr(chosen.config, field) or 0
    return [
        trial
        for trial in trials
        if trial.complete
        and other_values(trial.config) == other_values(chosen.config)
        and (getattr(trial.config, field) or 0) < value
    ]
