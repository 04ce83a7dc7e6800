"""Tests of trials, sweeps, recommendations, grids and service files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncgg.errors import SettingsError, UsageError
from asyncgg.testing import JitteredLatency, Scenario, ScenarioFault, ScheduledChange
from asyncgg.tuning.grid import Grid, build_grid, parse_numbers
from asyncgg.tuning.models import Configuration, Trial, Workload
from asyncgg.tuning.recommend import candidates, ideal_seconds, pareto_front, recommend
from asyncgg.tuning.service_spec import build_scenario, read_service
from asyncgg.tuning.sweep import run_sweep
from asyncgg.tuning.trial import TrialJournals, TrialSetup, run_trial
from asyncgg.tuning.workers import run_trials

SCENARIO = Scenario(30, 30, JitteredLatency(0.08, 0.04))


def run_one_trial(
    configuration: Configuration, scenario: Scenario = SCENARIO, batches: int = 200, cores: int = 20
) -> Trial:
    """Run one trial."""
    setup = TrialSetup(scenario, Workload(batches, cores))
    with TrialJournals(setup.workload) as journals:
        return run_trial(configuration, setup, journals)


def make_trial(rate: float, burst: float | None, concurrency: int, seconds: float, throttled: int = 0) -> Trial:
    """Return a trial with these results."""
    return Trial(Configuration(rate, burst, concurrency, 4), seconds, 100, throttled, concurrency, True)


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


def test_run_trials_depend_on_seed_but_not_on_processes() -> None:
    """One and two processes give the same trials in the same order; another seed differs."""
    setup = TrialSetup(SCENARIO, Workload(40, 10))
    specs = [(Configuration(rate, None, 8, 4), seed) for rate in (20.0, 30.0, 45.0) for seed in range(4)]
    done: list[int] = []
    inline_trials = run_trials(specs, setup, jobs=1, on_trial=done.append)
    assert inline_trials == run_trials(specs, setup, jobs=2)
    assert done == list(range(1, 13))
    assert inline_trials[0] != inline_trials[1]


_LONG_TRIALS = """
from asyncgg.testing import Scenario
from asyncgg.tuning.models import Configuration, Workload
from asyncgg.tuning.trial import TrialSetup
from asyncgg.tuning.workers import run_trials

if __name__ == "__main__":
    specs = [(Configuration(30, None, 8, 4), seed) for seed in range(16)]
    run_trials(specs, TrialSetup(Scenario(30, 30), Workload(1_000_000, 10)), jobs=2)
"""


def test_run_trials_killed_parent_ends_workers_and_removes_files(tmp_path: Path) -> None:
    """After SIGKILL of the parent, its workers exit and remove the temporary folder."""
    (tmp_path / "trials.py").write_text(_LONG_TRIALS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    folders = (tmp_path, Path("/dev/shm"))
    before = {path for folder in folders for path in folder.glob("asyncgg-tune-*")}

    def journals() -> set[Path]:
        return {path for folder in folders for path in folder.glob("asyncgg-tune-*/trial-*.journal")}

    with subprocess.Popen([sys.executable, tmp_path / "trials.py"], env=environment, stderr=subprocess.PIPE) as parent:
        wait_until(lambda: len([path for path in journals() if path.parent not in before]) == 2)
        (folder,) = {path.parent for path in journals() if path.parent not in before}
        parent.kill()
        assert parent.stderr is not None
        parent.stderr.read()  # ends when the workers, which inherit the pipe, have ended
    assert not folder.exists()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workload_is_spread_evenly() -> None:
    """Seven batches on three cores are 3, 2 and 2, and all are sent."""
    assert [Workload(7, 3).batches_for_core(number) for number in range(3)] == [3, 2, 2]
    assert run_one_trial(Configuration(30, None, 4, 4), batches=7, cores=3).sent == 7
    assert run_one_trial(Configuration(30, None, 4, 4), batches=2, cores=5).sent == 2
    with pytest.raises(UsageError):
        Workload(0, 1)


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
    assert progress[0] == (1, 34)
    assert progress[-1][0] <= 34


# --- recommendations ---


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


# --- grids and service files ---


def test_build_grid_follows_quota_and_latency() -> None:
    """Rates are around the quota, rounded down; concurrencies are around rate times latency."""
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


def test_grid_too_many_combinations_raises() -> None:
    """A grid that would run for hours is an error."""
    with pytest.raises(SettingsError, match="combinations"):
        Grid(tuple(range(1, 201)), (None,), tuple(range(1, 201)), (4,)).configurations()


@pytest.mark.parametrize("text", ["", "a", "1,,x", "-3", "nan", "inf", "0"])
def test_parse_numbers_invalid_list_raises(text: str) -> None:
    """An invalid list is an error that names the option."""
    with pytest.raises(SettingsError, match="--rates"):
        parse_numbers("--rates", text)


def test_parse_numbers_accepts_auto_and_integers_on_request() -> None:
    """A list has numbers, `auto` or integers, depending on the option."""
    assert parse_numbers("--bursts", "auto, 5,2.5", auto=True) == [None, 5, 2.5]
    with pytest.raises(SettingsError, match="integer"):
        parse_numbers("--concurrencies", "1.5", whole=True)


def test_build_scenario_options_override_the_file(tmp_path: Path) -> None:
    """Options override the file, which overrides the defaults."""
    path = tmp_path / "service.toml"
    path.write_text(
        'quota = 20\nlatency = "100ms"\nretry-after = 2\nbackground-rate = 3\nerrors = "1%"\n'
        '[[step]]\nat = "1m"\nquota = 5\n'
    )
    scenario = build_scenario({"quota": "40", "jitter": "0"}, read_service(path), str(path))
    assert (scenario.quota, scenario.burst, scenario.latency) == (40, 40, JitteredLatency(0.1, 0.0))
    assert (scenario.retry_after, scenario.background_rate) == (2, 3)
    assert scenario.faults[0].share == 0.01
    assert scenario.changes == (ScheduledChange(60, quota=5),)
    assert build_scenario({}).quota == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quotta = 3", "quotta"),
        ("quota = ", "invalid TOML"),
        ("quota = 'many'", "quota: 'many' is not a number"),
        ("quota = 0", "above 0"),
        ("quota = " + "9" * 400, "too large"),
        ("latency = 'soon'", "latency: 'soon'"),
        ("errors = 101", "errors: 101"),
        ("step = 3", "step"),
        ("[[step]]\nquota = 3", "at"),
        ("[[step]]\nat = 3\nsize = 3", "step.size"),
    ],
)
def test_build_scenario_invalid_file_raises(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file and the key."""
    path = tmp_path / "service.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        build_scenario({}, read_service(path), str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("background_rate", [20.0, 30.0])
def test_run_sweep_quota_used_by_other_clients_has_no_minimum_time(background_rate: float) -> None:
    """If other clients use the whole quota, the theoretical minimum is 0."""
    scenario = Scenario(20, 1, JitteredLatency(0.05, 0.0), background_rate=background_rate)
    result = run_sweep(Grid((5.0,), (1.0,), (2,), (2,)), TrialSetup(scenario, Workload(5, 1), 30.0), jobs=1)
    assert result.ideal_seconds == 0.0
