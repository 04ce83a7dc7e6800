"""Rule: which of the tried settings to recommend, and why, is decided here; pure functions of trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.tuning.values import Point, Trial, Work

__all__ = ["Choice", "candidates", "choose", "frontier", "ideal_seconds", "shown"]

_ALIKE: Final = 0.005
"""Part of the makespan by which trials may differ and still count as equally fast."""
_HEADROOM: Final = 2.0
"""Times the requests under way that concurrency should allow, if it costs nothing: latencies double at times."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The recommendation."""

    trial: Trial
    """The chosen point, as it went in the sweep."""
    further: tuple[Trial, ...]
    """The same point with other dice."""
    reasons: tuple[str, ...]
    """Sentences for a person, the most important first."""

    @property
    def clean(self) -> bool:
        """Whether it ended without one throttle, whatever the dice."""
        return not any(trial.throttled for trial in (self.trial, *self.further))


def ideal_seconds(work: Work, quota: float, burst: float) -> float:
    """What the quota itself takes until it has let in the last request; 0 when there is none, or others use it all."""
    return 0.0 if math.isinf(quota) or quota <= 0 else max(0.0, (work.batches - burst) / quota)


def candidates(trials: Iterable[Trial], number: int, in_flight: float, free: float) -> list[Trial]:
    """The best few, best first: fastest without a throttle; when all were throttled, those least so.

    A rate above `free`, what the quota leaves to us, is none as long as there are others: it can look well in a short
    run whose burst or concurrency hid it, and a longer one would be throttled.

    Of those that are equally fast the one with the smallest burst comes first, then the one whose concurrency is the
    smallest that leaves headroom over `in_flight`, the requests that the quota keeps under way.
    """
    finished = [trial for trial in trials if trial.complete]
    finished = [trial for trial in finished if trial.point.rate <= free] or finished
    if clean := [trial for trial in finished if not trial.throttled]:
        return _ranked(clean, number, in_flight, lambda trial: trial.seconds)
    return _ranked(finished, number, in_flight, lambda trial: (trial.throttled_share + 0.01) * trial.seconds)


def choose(
    best: Sequence[tuple[Trial, Sequence[Trial]]], trials: Sequence[Trial], ideal: float, in_flight: float
) -> Choice | None:
    """The first of the candidates (`best`, each with its further trials) that no dice could throttle; else the first.

    None when there is no candidate: nothing that was tried came to its end. `ideal` as of `ideal_seconds`.
    """
    if not best:
        return None
    firm = [one for one in best if not any(trial.throttled for trial in (one[0], *one[1]))]
    trial, further = (firm or best)[0]
    return Choice(trial, tuple(further), tuple(_reasons(trial, further, trials, ideal, in_flight)))


def frontier(trials: Iterable[Trial]) -> list[Trial]:
    """Those that no other beats in both makespan and throttled share, fastest first."""
    kept: list[Trial] = []
    least = math.inf
    for trial in sorted((one for one in trials if one.complete), key=lambda one: (one.seconds, one.throttled_share)):
        if trial.throttled_share < least:
            least = trial.throttled_share
            kept.append(trial)
    return kept


def shown(point: Point) -> str:
    """The point in a few words."""
    burst = "auto" if point.burst is None else f"{point.burst:g}"
    return f"rate {point.rate:g}, burst {burst}, concurrency {point.concurrency}, per core {point.per_core}"


def _ranked(trials: Iterable[Trial], number: int, in_flight: float, cost: Callable[[Trial], float]) -> list[Trial]:
    left = sorted(trials, key=cost)
    found: list[Trial] = []
    while left and len(found) < number:
        limit = cost(left[0]) * (1 + _ALIKE)
        alike = [trial for trial in left if cost(trial) <= limit]
        first = min(alike, key=lambda trial: _modesty(trial.point, in_flight))
        found.append(first)
        # What differs in nothing but concurrency is no second opinion.
        same = (first.point.rate, first.point.burst)
        left = [trial for trial in left if (trial.point.rate, trial.point.burst) != same]
    return found


def _modesty(point: Point, in_flight: float) -> tuple[float, bool, int, int, float]:
    tight = point.concurrency < _HEADROOM * in_flight
    concurrency = -point.concurrency if tight else point.concurrency
    return point.burst or 0.0, tight, concurrency, point.per_core, point.rate


def _reasons(
    chosen: Trial, further: Sequence[Trial], trials: Sequence[Trial], ideal: float, in_flight: float
) -> Iterable[str]:
    runs = [chosen, *further]
    throttled = sum(trial.throttled for trial in runs)
    above = f", {100 * (chosen.seconds / ideal - 1):.1f} % above what the quota itself takes" if ideal else ""
    if throttled:
        share = 100 * throttled / sum(trial.sent for trial in runs)
        yield f"nothing that was tried went without a throttle; this is throttled least for its time: {share:.2f} %"
        yield f"it takes {chosen.seconds:.1f} s{above}"
    else:
        dice = f" in any of {len(runs)} runs with different latencies" if further else ""
        yield f"the first to end, after {chosen.seconds:.1f} s{above}, without one throttle{dice}"
    faster = [trial for trial in trials if trial.complete and trial.seconds < chosen.seconds * (1 - _ALIKE)]
    if faster:
        least = min(faster, key=lambda trial: (trial.throttled_share, trial.seconds))
        gain = chosen.seconds - least.seconds
        what = f"has {100 * least.throttled_share:.2f} % refused" if least.throttled else "asks for more than the quota"
        yield f"what ended earlier is no better: {shown(least.point)} gains {gain:.1f} s and {what}"
    elif over := [trial for trial in trials if trial.point.rate > chosen.point.rate and trial.throttled]:
        worst = max(over, key=lambda trial: trial.throttled_share)
        part = f"{100 * worst.throttled_share:.2f} %"
        yield f"a higher rate ends no earlier: {worst.point.rate:g}/s takes {worst.seconds:.1f} s, {part} refused"
    if fewer := _same_but(chosen, trials, "concurrency"):
        starved = max(fewer, key=lambda trial: trial.seconds)
        if starved.seconds > chosen.seconds * (1 + _ALIKE):
            yield (
                f"rate x latency keeps {in_flight:.1f} requests under way: concurrency {starved.point.concurrency}"
                f" would take {starved.seconds:.1f} s, {chosen.point.concurrency} leaves room for slower answers"
            )
    if smaller := _same_but(chosen, trials, "burst"):
        plain = min(smaller, key=lambda trial: trial.point.burst or 0.0)
        gain = plain.seconds - chosen.seconds
        if gain > chosen.seconds * _ALIKE:
            name = "auto" if plain.point.burst is None else f"{plain.point.burst:g}"
            yield f"the burst gains {gain:.1f} s over {name}, once a run, while nobody else uses it"


def _same_but(chosen: Trial, trials: Iterable[Trial], name: str) -> list[Trial]:
    """Trials with a smaller `name` and otherwise the same point."""

    def rest(point: Point) -> tuple[object, ...]:
        names = [one for one in ("rate", "burst", "concurrency") if one != name]
        return tuple(getattr(point, one) for one in names)

    own = getattr(chosen.point, name) or 0
    return [
        trial
        for trial in trials
        if trial.complete and rest(trial.point) == rest(chosen.point) and (getattr(trial.point, name) or 0) < own
    ]
