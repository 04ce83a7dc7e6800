"""Rule: which of the tried settings to recommend, and why, is decided here; pure functions of trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.tuning.models import Configuration, Trial, Workload

__all__ = ["Recommendation", "candidates", "describe", "ideal_seconds", "pareto_front", "recommend"]

_TIE_TOLERANCE: Final = 0.005
"""Part of the makespan by which trials may differ and still count as equally fast."""
_HEADROOM: Final = 2.0
"""Times the requests under way that concurrency should allow, if it costs nothing: latencies double at times."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommendation."""

    trial: Trial
    """The chosen point, as it went in the sweep."""
    repeats: tuple[Trial, ...]
    """The same point with other dice."""
    reasons: tuple[str, ...]
    """Sentences for a person, the most important first."""

    @property
    def never_throttled(self) -> bool:
        """Whether it ended without one throttle, whatever the dice."""
        return not any(trial.throttled for trial in (self.trial, *self.repeats))


def ideal_seconds(workload: Workload, quota: float, burst: float) -> float:
    """What the quota itself takes until it has let in the last request; 0 when there is none, or others use it all."""
    return 0.0 if math.isinf(quota) or quota <= 0 else max(0.0, (workload.batches - burst) / quota)


def candidates(trials: Iterable[Trial], count: int, in_flight: float, available_rate: float) -> list[Trial]:
    """The best few, best first: fastest without a throttle; when all were throttled, those least so.

    A rate above `free`, what the quota leaves to us, is none as long as there are others: it can look well in a short
    run whose burst or concurrency hid it, and a longer one would be throttled.

    Of those that are equally fast the one with the smallest burst comes first, then the one whose concurrency is the
    smallest that leaves headroom over `in_flight`, the requests that the quota keeps under way.
    """
    finished = [trial for trial in trials if trial.complete]
    finished = [trial for trial in finished if trial.config.rate <= available_rate] or finished
    if unthrottled := [trial for trial in finished if not trial.throttled]:
        return _rank(unthrottled, count, in_flight, lambda trial: trial.seconds)
    return _rank(finished, count, in_flight, lambda trial: (trial.throttled_share + 0.01) * trial.seconds)


def recommend(
    ranked: Sequence[tuple[Trial, Sequence[Trial]]], trials: Sequence[Trial], ideal: float, in_flight: float
) -> Recommendation | None:
    """The first of the candidates (`best`, each with its further trials) that no dice could throttle; else the first.

    None when there is no candidate: nothing that was tried came to its end. `ideal` as of `ideal_seconds`.
    """
    if not ranked:
        return None
    unthrottled = [
        candidate for candidate in ranked if not any(trial.throttled for trial in (candidate[0], *candidate[1]))
    ]
    trial, repeats = (unthrottled or ranked)[0]
    return Recommendation(trial, tuple(repeats), tuple(_reasons(trial, repeats, trials, ideal, in_flight)))


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    """Those that no other beats in both makespan and throttled share, fastest first."""
    front: list[Trial] = []
    lowest_share = math.inf
    for trial in sorted((one for one in trials if one.complete), key=lambda one: (one.seconds, one.throttled_share)):
        if trial.throttled_share < lowest_share:
            lowest_share = trial.throttled_share
            front.append(trial)
    return front


def describe(config: Configuration) -> str:
    """The point in a few words."""
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
        # What differs in nothing but concurrency is no second opinion.
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
    above_ideal = f", {100 * (chosen.seconds / ideal - 1):.1f} % above what the quota itself takes" if ideal else ""
    if throttled:
        share = 100 * throttled / sum(trial.sent for trial in runs)
        yield f"nothing that was tried went without a throttle; this is throttled least for its time: {share:.2f} %"
        yield f"it takes {chosen.seconds:.1f} s{above_ideal}"
    else:
        runs_note = f" in any of {len(runs)} runs with different latencies" if repeats else ""
        yield f"the first to end, after {chosen.seconds:.1f} s{above_ideal}, without one throttle{runs_note}"
    faster = [trial for trial in trials if trial.complete and trial.seconds < chosen.seconds * (1 - _TIE_TOLERANCE)]
    if faster:
        best_faster = min(faster, key=lambda trial: (trial.throttled_share, trial.seconds))
        gain = chosen.seconds - best_faster.seconds
        drawback = (
            f"has {100 * best_faster.throttled_share:.2f} % refused"
            if best_faster.throttled
            else "asks for more than the quota"
        )
        yield f"what ended earlier is no better: {describe(best_faster.config)} gains {gain:.1f} s and {drawback}"
    elif higher_rates := [trial for trial in trials if trial.config.rate > chosen.config.rate and trial.throttled]:
        worst = max(higher_rates, key=lambda trial: trial.throttled_share)
        percent = f"{100 * worst.throttled_share:.2f} %"
        yield f"a higher rate ends no earlier: {worst.config.rate:g}/s takes {worst.seconds:.1f} s, {percent} refused"
    if lower_concurrency := _neighbours(chosen, trials, "concurrency"):
        slowest = max(lower_concurrency, key=lambda trial: trial.seconds)
        if slowest.seconds > chosen.seconds * (1 + _TIE_TOLERANCE):
            yield (
                f"rate x latency keeps {in_flight:.1f} requests under way: concurrency {slowest.config.concurrency}"
                f" would take {slowest.seconds:.1f} s, {chosen.config.concurrency} leaves room for slower answers"
            )
    if smaller_bursts := _neighbours(chosen, trials, "burst"):
        smallest_burst = min(smaller_bursts, key=lambda trial: trial.config.burst or 0.0)
        gain = smallest_burst.seconds - chosen.seconds
        if gain > chosen.seconds * _TIE_TOLERANCE:
            burst_label = "auto" if smallest_burst.config.burst is None else f"{smallest_burst.config.burst:g}"
            yield f"the burst gains {gain:.1f} s over {burst_label}, once a run, while nobody else uses it"


def _neighbours(chosen: Trial, trials: Iterable[Trial], field: str) -> list[Trial]:
    """Trials with a smaller `name` and otherwise the same point."""

    def other_values(config: Configuration) -> tuple[object, ...]:
        names = [one for one in ("rate", "burst", "concurrency") if one != field]
        return tuple(getattr(config, one) for one in names)

    value = getattr(chosen.config, field) or 0
    return [
        trial
        for trial in trials
        if trial.complete
        and other_values(trial.config) == other_values(chosen.config)
        and (getattr(trial.config, field) or 0) < value
    ]
