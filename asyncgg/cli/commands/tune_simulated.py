"""`asyncgg tune` without the service: a sweep of settings, its confirmation and its results."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.local_simulator import isolated_aws_environment, simulator_process
from asyncgg.cli.progress import ProgressDisplay, ProgressView
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import run_async
from asyncgg.errors import SettingsError, UsageError
from asyncgg.files import atomic_write_text, checked_output_path
from asyncgg.formatting import format_duration
from asyncgg.ratelimit import documented_quota
from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.confirm import ConfirmedTrial, confirm, confirmation_workload, simulator_settings
from asyncgg.tuning.grid import Grid, build_grid, parse_numbers
from asyncgg.tuning.models import Configuration, Workload
from asyncgg.tuning.plot import image_format, plot_sweep, require_matplotlib
from asyncgg.tuning.replay import RecordedRun, is_burst_assumed, load_run, scenario_from_run
from asyncgg.tuning.report import (
    describe_scenario,
    format_replay,
    format_sweep,
    replay_to_dict,
    sweep_to_dict,
    write_csv,
)
from asyncgg.tuning.service_spec import build_scenario, read_service
from asyncgg.tuning.settings_file import read_existing, render_settings, write_settings
from asyncgg.tuning.sweep import SweepResult, default_batches, run_sweep
from asyncgg.tuning.trial import TrialSetup
from asyncgg.tuning.workers import run_trials

_DEFAULT_CORES: Final = 50
_MAX_REPLAY_BATCHES: Final = 1500
"""Maximum batches of a replayed run, unless --batches is given."""
_MAX_CONFIRMED: Final = 2
"""Candidates that are run in real time."""
_MIN_RATE: Final = 0.001
"""Requests per second. For much lower rates the virtual clock lacks precision."""


@dataclass(frozen=True, slots=True)
class _SweepProgress:
    done: int
    total: int
    seconds: float

    @property
    def seconds_left(self) -> float:
        return self.seconds / self.done * (self.total - self.done)


_SWEEP_VIEW: Final = ProgressView(
    lambda progress: (progress.done, progress.total),
    lambda progress: f"{progress.done:,} of {progress.total:,} trials",
    lambda progress, _: [f"{format_duration(progress.seconds_left)} left"],
    lambda progress, _: {
        "event": "progress",
        "done": progress.done,
        "total": progress.total,
        "seconds_left": round(progress.seconds_left, 1),
    },
)


def tune_simulated(arguments: Mapping[str, Any], console: Console) -> int:
    """Sweep the settings for a described service and return the exit code."""
    path: Path | None = arguments["service"]
    check_output_paths(arguments)
    scenario = build_scenario(arguments, read_service(path) if path else None, str(path or ""))
    if scenario.quota < _MIN_RATE:
        raise SettingsError(f"--quota: {scenario.quota:g} must be at least {_MIN_RATE:g} requests per second")
    batches = default_batches(scenario.quota if scenario.quota < 1e6 else 30.0)
    setup = TrialSetup(
        scenario, _build_workload(arguments, batches, _DEFAULT_CORES), documented_quota(arguments["region"] or "")
    )
    result = _run_sweep(arguments, setup, console)
    return _finish(arguments, console, result, f"for {describe_scenario(scenario)}", sweep_to_dict, format_sweep)


def replay_journal(journal: Path, arguments: Mapping[str, Any], console: Console) -> int:
    """Sweep the settings for the service that the journal of a run recorded."""
    check_output_paths(arguments)
    recorded = load_run(journal)
    overrides = build_scenario({"quota": arguments["quota"], "burst": arguments["burst"]})
    quota = None if arguments["quota"] is None else overrides.quota
    burst = None if arguments["burst"] is None else overrides.burst
    scenario, source = scenario_from_run(recorded, quota=quota, burst=burst)
    if arguments["bursts"] is None and is_burst_assumed(recorded, quota=quota, burst=burst):
        arguments = {**arguments, "bursts": "auto"}  # a larger one is not recommended without a proof
    full_workload = recorded.workload
    workload = _build_workload(arguments, min(full_workload.batches, _MAX_REPLAY_BATCHES), full_workload.cores)
    result = _run_sweep(
        arguments, TrialSetup(scenario, workload, recorded.documented), console, extra=[recorded.config]
    )

    def to_dict(result: SweepResult, confirmed: Sequence[ConfirmedTrial]) -> dict[str, Any]:
        return sweep_to_dict(result, confirmed) | replay_to_dict(recorded, source, result)

    def format_lines(result: SweepResult, confirmed: Sequence[ConfirmedTrial]) -> list[str]:
        return [*format_replay(recorded, source, result), *format_sweep(result, confirmed)]

    return _finish(arguments, console, result, f"from {journal.name}", to_dict, format_lines, recorded)


def check_output_paths(arguments: Mapping[str, Any]) -> None:
    """Refuse unusable output files before the work."""
    for path in filter(None, (arguments["write"], arguments["out"], arguments["plot"])):
        if not checked_output_path(path).parent.is_dir():
            raise UsageError(f"{path}: cannot be written: no such directory")
    if arguments["write"]:
        read_existing(arguments["write"], replace=bool(arguments["replace"]))
    if arguments["plot"] and not _is_page(arguments["plot"]):
        image_format(arguments["plot"])
        require_matplotlib()


def _is_page(path: Path) -> bool:
    return path.suffix.lower() == ".html"


def _run_sweep(
    arguments: Mapping[str, Any], setup: TrialSetup, console: Console, *, extra: Sequence[Configuration] = ()
) -> SweepResult:
    grid = _build_grid(arguments, setup.scenario)
    started_at = time.monotonic()
    with raise_on_signal(), ProgressDisplay(console, view=_SWEEP_VIEW).open() as show:

        def on_trial(done: int, total: int) -> None:
            show(_SweepProgress(done, total, time.monotonic() - started_at))

        return run_sweep(
            grid, setup, jobs=arguments["jobs"], seed=arguments["seed"] or 0, extra=extra, on_trial=on_trial
        )


def _finish(
    arguments: Mapping[str, Any],
    console: Console,
    result: SweepResult,
    subject: str,
    to_dict: Callable[[SweepResult, Sequence[ConfirmedTrial]], dict[str, Any]],
    format_lines: Callable[[SweepResult, Sequence[ConfirmedTrial]], list[str]],
    recorded: RecordedRun | None = None,
) -> int:
    with raise_on_signal():
        confirmed = [] if arguments["no_confirm"] else _confirm(result, console)
        lines, snippet = format_lines(result, confirmed), ""
        if result.recommendation is not None:
            comment = f"asyncgg tune, {time.strftime('%Y-%m-%d', time.gmtime())}, {subject}"
            snippet = render_settings(result.recommendation.trial.config, comment).rstrip()
            lines += ["", snippet]
            if arguments["write"]:
                write_settings(
                    arguments["write"], result.recommendation.trial.config, comment, replace=bool(arguments["replace"])
                )
                lines.append(f"written to {arguments['write']}")
        if arguments["out"]:
            with atomic_write_text(arguments["out"]) as file:
                write_csv(file, result)
        plot: Path | None = arguments["plot"]
        if plot is not None and _is_page(plot):
            from asyncgg.tuning.page import write_sweep_page

            write_sweep_page(result, plot, snippet=snippet, recorded=recorded, generated_at=time.time())
        elif plot is not None:
            plot_sweep(result, plot)
        console.write_result(to_dict(result, confirmed), lines)
    return 0 if result.recommendation is not None else 3


def _build_workload(arguments: Mapping[str, Any], batches: int, cores: int) -> Workload:
    return Workload(
        batches if arguments["batches"] is None else arguments["batches"],
        cores if arguments["cores"] is None else arguments["cores"],
    )


def _build_grid(arguments: Mapping[str, Any], scenario: Scenario) -> Grid:
    def values(name: str, **options: bool) -> list[Any]:
        text = arguments[name]
        return [] if text is None else list(parse_numbers(f"--{name.replace('_', '-')}", text, **options))

    rates = values("rates")
    if slow := [rate for rate in rates if rate < _MIN_RATE]:
        raise SettingsError(f"--rates: {slow[0]:g} must be at least {_MIN_RATE:g} requests per second")
    bursts = values("bursts", auto=True)
    if low := [burst for burst in bursts if burst is not None and burst < 1]:
        raise SettingsError(f"--bursts: {low[0]:g} must be at least 1")
    return build_grid(
        scenario,
        rates=rates,
        bursts=bursts,
        concurrencies=[int(value) for value in values("concurrencies", whole=True)],
        per_cores=[int(value) for value in values("per_cores", whole=True)],
    )


def _confirm(result: SweepResult, console: Console) -> list[ConfirmedTrial]:
    """The best few in real time, each with a trial of the same work on the virtual clock."""
    scenario = result.setup.scenario
    workload = confirmation_workload(scenario, result.setup.workload)
    settings = simulator_settings(scenario, workload)
    if settings is None:
        if isinstance(scenario.latency, JitteredLatency) and not console.quiet:  # a replay is not confirmed
            console.print("not confirmed in real time: the simulator supports no background rate or steps")
        return []
    setup = TrialSetup(scenario, workload, result.setup.documented)
    best = result.candidates[:_MAX_CONFIRMED]
    expected = run_trials([(trial.config, 0) for trial in best], setup, jobs=1)
    confirmed = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncgg-tune-")))
        url = stack.enter_context(simulator_process(settings))
        stack.enter_context(isolated_aws_environment())
        for number, simulated in enumerate(expected):
            if not console.quiet:
                console.print(f"in real time, {number + 1} of {len(expected)}: about {simulated.seconds:.0f} s")
            confirmed.append(
                ConfirmedTrial(run_async(confirm(simulated.config, url, folder / f"{number}.journal")), simulated)
            )
    return confirmed
