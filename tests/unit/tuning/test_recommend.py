"""Tests of asyncgg.tuning.recommend."""

from __future__ import annotations

from asyncgg.tuning.models import Configuration, Trial, Workload
from asyncgg.tuning.recommend import candidates, ideal_seconds, pareto_front, recommend


def make_trial(rate: float, burst: float | None, concurrency: int, seconds: float, throttled: int = 0) -> Trial:
    """Return a trial with these results."""
    return Trial(Configuration(rate, burst, concurrency, 4), seconds, 100, throttled, concurrency, True)


def test_candidates_exclude_rates_above_the_quota() -> None:
    """A rate above the quota is a candidate only if there is no other."""
    trials = [make_trial(33, None, 8, 9.0), make_trial(30, None, 8, 10.0), make_trial(20, None, 8, 15.0)]
    assert candidates(trials, 1, 3.0, 30)[0].config.rate == 30
    assert candidates(trials[:1], 1, 3.0, 30)[0].config.rate == 33


def test_candidates_ties_prefer_small_burst_then_concurrency_with_headroom() -> None:
    """Ties: the smallest burst, then the smallest concurrency of twice the requests in flight."""
    trials = [make_trial(30, burst, n, 10.0 + n / 1e4) for burst in (None, 20) for n in (4, 8, 64)]
    assert candidates(trials, 1, 3.6, 30)[0].config == Configuration(30, None, 8, 4)
    assert candidates(trials, 1, 100, 30)[0].config.concurrency == 64


def test_recommend_prefers_candidates_never_throttled() -> None:
    """The first candidate without throttled repeats is recommended, otherwise the first one."""
    best = [
        (make_trial(30, 20, 8, 9.0), [make_trial(30, 20, 8, 9.1, 1)]),
        (make_trial(29, 20, 8, 9.5), [make_trial(29, 20, 8, 9.5)]),
    ]
    chosen = recommend(best, [trial for trial, _ in best], 8.0, 3.0)
    assert chosen is not None
    assert (chosen.trial.config.rate, chosen.never_throttled) == (29, True)
    worst = recommend(best[:1], [best[0][0]], 8.0, 3.0)
    assert worst is not None
    assert not worst.never_throttled
    assert "every configuration was throttled" in worst.reasons[0]
    assert recommend([], [], 8.0, 3.0) is None


def test_pareto_front_has_trials_not_beaten_in_both() -> None:
    """A trial of the front is faster only with more throttles."""
    trials = [
        make_trial(30, None, 8, 10),
        make_trial(33, None, 8, 9.5, 2),
        make_trial(45, None, 8, 9.8, 5),
        make_trial(20, None, 8, 15),
    ]
    assert [trial.config.rate for trial in pareto_front(trials)] == [33, 30]
    assert ideal_seconds(Workload(100, 5), 10, 20) == 8
    assert ideal_seconds(Workload(100, 5), float("inf"), 20) == 0
