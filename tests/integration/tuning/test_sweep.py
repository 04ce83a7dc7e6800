"""Rule: trials and sweeps on virtual time: what a point comes to, what is recommended, what processes agree on."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.errors import SettingsError, UsageError
from asyncgg.testing import JitteredLatency, Scenario, ScenarioFault, ScheduledChange
from asyncgg.tuning.grid import Grid, build_grid, parse_numbers
from asyncgg.tuning.journal import TrialJournals
from asyncgg.tuning.models import Configuration, Trial, Workload
from asyncgg.tuning.recommend import candidates, ideal_seconds, pareto_front, recommend
from asyncgg.tuning.service_spec import build_scenario, read_service
from asyncgg.tuning.sweep import run_sweep
from asyncgg.tuning.trial import TrialSetup, run_trial
from asyncgg.tuning.workers import run_trials

SCENARIO = Scenario(30, 30, JitteredLatency(0.08, 0.04))


def run_one_trial(
    configuration: Configuration, scenario: Scenario = SCENARIO, batches: int = 200, cores: int = 20
) -> Trial:
    """One trial."""
    setup = TrialSetup(scenario, Workload(batches, cores))
    with TrialJournals(setup.workload) as journals:
        return run_trial(configuration, setup, journals)


def make_trial(rate: float, burst: float | None, concurrency: int, seconds: float, throttled: int = 0) -> Trial:
    """A trial as if it had been made."""
    return Trial(Configuration(rate, burst, concurrency, 4), seconds, 100, throttled, concurrency, True)


def test_a_trial_takes_what_the_quota_takes() -> None:
    """At the quota's rate the makespan is batches over rate, and nothing is throttled."""
    result = run_one_trial(Configuration(30, None, 64, 4))
    assert result.complete
    assert (result.sent, result.throttled) == (200, 0)
    assert result.seconds == pytest.approx(200 / 30, rel=0.05)


@pytest.mark.parametrize(
    ("point", "cores", "limit"),
    [(Configuration(30, None, 1, 1), 20, 1 / 0.12), (Configuration(30, None, 64, 2), 1, 2 / 0.12)],
    ids=["concurrency", "per-core"],
)
def test_concurrency_and_requests_per_core_bound_a_trial(point: Configuration, cores: int, limit: float) -> None:
    """Too few at once, in all or for the one core there is, and latency decides instead of the quota."""
    result = run_one_trial(point, cores=cores)
    assert result.sent / result.seconds == pytest.approx(limit, rel=0.15)
    assert result.max_in_flight == (1 if cores > 1 else 2)


def test_a_rate_above_the_quota_is_throttled_and_survives() -> None:
    """The real policy finds its way: everything is done, a few are throttled."""
    result = run_one_trial(Configuration(45, None, 64, 4), batches=400)
    assert result.complete
    assert 0 < result.throttled < 20
    assert result.sent == 400 + result.throttled


def test_a_script_reaches_the_trial() -> None:
    """Errors are sent again, and a quota that is halved on the way takes its time."""
    failing = run_one_trial(Configuration(30, None, 64, 4), Scenario(30, 30, faults=(ScenarioFault(share=0.1),)))
    assert failing.sent > 210
    halved = run_one_trial(
        Configuration(30, None, 64, 4), Scenario(30, 5, changes=(ScheduledChange(2, quota=15),)), batches=300
    )
    assert halved.seconds > 1.5 * 300 / 30
    assert halved.complete


def test_one_seed_one_trial_in_any_process() -> None:
    """Two processes and one tell the same, in the order asked; another seed tells something else."""
    setup = TrialSetup(SCENARIO, Workload(40, 10))
    orders = [(Configuration(rate, None, 8, 4), seed) for rate in (20.0, 30.0, 45.0) for seed in range(4)]
    done: list[int] = []
    inline_trials = run_trials(orders, setup, jobs=1, on_trial=done.append)
    assert inline_trials == run_trials(orders, setup, jobs=2)
    assert done == list(range(1, 13))
    assert inline_trials[0] != inline_trials[1]


def test_the_work_is_spread_evenly() -> None:
    """Seven batches on three cores are 3, 2 and 2, and all are done."""
    assert [Workload(7, 3).batches_for_core(number) for number in range(3)] == [3, 2, 2]
    assert run_one_trial(Configuration(30, None, 4, 4), batches=7, cores=3).sent == 7
    assert run_one_trial(Configuration(30, None, 4, 4), batches=2, cores=5).sent == 2
    with pytest.raises(UsageError):
        Workload(0, 1)


def test_a_sweep_recommends_the_quota_itself() -> None:
    """The chosen point ends first without a throttle in any run, at no more than the quota, and says why."""
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
    assert progress[0] == (1, 34)
    assert progress[-1][0] <= 34


# --- choosing, without running ---


def test_more_than_the_quota_is_never_recommended() -> None:
    """A rate above the quota that a short run did not throttle is passed over while there is another."""
    trials = [make_trial(33, None, 8, 9.0), make_trial(30, None, 8, 10.0), make_trial(20, None, 8, 15.0)]
    assert candidates(trials, 1, 3.0, 30)[0].config.rate == 30
    assert candidates(trials[:1], 1, 3.0, 30)[0].config.rate == 33


def test_of_equals_the_modest_one_with_headroom_is_taken() -> None:
    """Smallest burst first, then the smallest concurrency that leaves twice what is under way."""
    trials = [make_trial(30, burst, width, 10.0 + width / 1e4) for burst in (None, 20) for width in (4, 8, 64)]
    assert candidates(trials, 1, 3.6, 30)[0].config == Configuration(30, None, 8, 4)
    assert candidates(trials, 1, 100, 30)[0].config.concurrency == 64


def test_dice_can_throw_a_candidate_out() -> None:
    """The first candidate that no further run throttles is chosen; when each was, the first, and it says so."""
    best = [
        (make_trial(30, 20, 8, 9.0), [make_trial(30, 20, 8, 9.1, 1)]),
        (make_trial(29, 20, 8, 9.5), [make_trial(29, 20, 8, 9.5)]),
    ]
    chosen = recommend(best, [one for one, _ in best], 8.0, 3.0)
    assert chosen is not None
    assert (chosen.trial.config.rate, chosen.never_throttled) == (29, True)
    worst = recommend(best[:1], [best[0][0]], 8.0, 3.0)
    assert worst is not None
    assert not worst.never_throttled
    assert "nothing that was tried went without a throttle" in worst.reasons[0]
    assert recommend([], [], 8.0, 3.0) is None


def test_the_frontier_holds_what_nobody_beats() -> None:
    """Faster only with more throttles: these stay, all others go."""
    trials = [
        make_trial(30, None, 8, 10),
        make_trial(33, None, 8, 9.5, 2),
        make_trial(45, None, 8, 9.8, 5),
        make_trial(20, None, 8, 15),
    ]
    assert [one.config.rate for one in pareto_front(trials)] == [33, 30]
    assert ideal_seconds(Workload(100, 5), 10, 20) == 8
    assert ideal_seconds(Workload(100, 5), float("inf"), 20) == 0


# --- what to try, and on what ---


def test_the_grid_follows_the_service() -> None:
    """Rates around the quota, none of them above it by rounding; concurrency around rate times latency."""
    grid = build_grid(Scenario(19.763, 15, JitteredLatency(0.1, 0.1)))
    assert max(rate for rate in grid.rates if rate < 20) == 19.7
    assert grid.bursts == (None, 8.0, 14.0)
    assert grid.concurrencies[:2] == (2, 4)
    assert 64 in grid.concurrencies
    assert build_grid(SCENARIO, rates=[7], bursts=[None], concurrencies=[3], per_cores=[1]).configurations() == [
        Configuration(7, None, 3, 1)
    ]
    with pytest.raises(SettingsError, match="--rates"):
        build_grid(Scenario(float("inf")))


def test_too_many_combinations_are_refused() -> None:
    """A grid that would run for hours is the caller's mistake."""
    with pytest.raises(SettingsError, match="combinations"):
        Grid(tuple(range(1, 201)), (None,), tuple(range(1, 201)), (4,)).configurations()


@pytest.mark.parametrize("text", ["", "a", "1,,x", "-3", "nan", "inf", "0"])
def test_lists_of_rubbish_are_refused(text: str) -> None:
    """What is no list of numbers above 0 is told with the option's name."""
    with pytest.raises(SettingsError, match="--rates"):
        parse_numbers("--rates", text)


def test_lists() -> None:
    """Numbers between commas, `auto` and whole numbers where these are wanted."""
    assert parse_numbers("--bursts", "auto, 5,2.5", auto=True) == [None, 5, 2.5]
    with pytest.raises(SettingsError, match="whole"):
        parse_numbers("--concurrencies", "1.5", whole=True)


def test_a_service_is_described_by_options_over_its_file(tmp_path: Path) -> None:
    """Options win over the file, the file over the defaults; steps and percentages are read."""
    path = tmp_path / "service.toml"
    path.write_text('quota = 20\nlatency = "100ms"\nretry-after = 2\nerrors = "1%"\n[[step]]\nat = "1m"\nquota = 5\n')
    script = build_scenario({"quota": "40", "jitter": "0"}, read_service(path), str(path))
    assert (script.quota, script.burst, script.latency) == (40, 40, JitteredLatency(0.1, 0.0))
    assert script.retry_after == 2
    assert script.faults[0].share == 0.01
    assert script.changes == (ScheduledChange(60, quota=5),)
    assert build_scenario({}).quota == 30


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quotta = 3", "quotta"),
        ("quota = ", "no TOML"),
        ("quota = 'many'", "quota: 'many' is no number"),
        ("quota = 0", "above 0"),
        ("quota = " + "9" * 400, "too large"),
        ("latency = 'soon'", "latency: 'soon'"),
        ("errors = 101", "percent"),
        ("step = 3", "step"),
        ("[[step]]\nquota = 3", "at"),
        ("[[step]]\nat = 3\nsize = 3", "step.size"),
    ],
)
def test_a_wrong_service_is_named(tmp_path: Path, text: str, words: str) -> None:
    """Each fault of a service's file is told with the file and the member."""
    path = tmp_path / "service.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words) as caught:
        build_scenario({}, read_service(path), str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("others", [20.0, 30.0])
def test_others_may_use_all_of_the_quota(others: float) -> None:
    """Then nothing is recommended when nothing gets through; it is no division by zero."""
    script = Scenario(20, 1, JitteredLatency(0.05, 0.0), background_rate=others)
    result = run_sweep(Grid((5.0,), (1.0,), (2,), (2,)), TrialSetup(script, Workload(5, 1), 30.0), jobs=1)
    assert result.ideal_seconds == 0.0
