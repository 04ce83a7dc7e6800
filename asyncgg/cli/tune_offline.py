"""Rule: `asyncgg tune` without the service: from options to a sweep, its confirmation, and where its results go."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.output import Output
from asyncgg.cli.running import run_loop
from asyncgg.cli.signals import interrupting
from asyncgg.cli.simulated import nobody, simulator
from asyncgg.cli.tune_progress import Ticker
from asyncgg.errors import SettingsError, UsageError
from asyncgg.manifest.writing import atomic_write_text, checked_output_path
from asyncgg.ratelimit import documented_quota
from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.block import read_existing, render_settings, write_settings
from asyncgg.tuning.confirm import ConfirmedTrial, confirm, confirmation_workload, simulator_settings
from asyncgg.tuning.described import build_scenario, read_service
from asyncgg.tuning.grid import Grid, build_grid, parse_numbers
from asyncgg.tuning.picture import image_format, plot_sweep, require_matplotlib
from asyncgg.tuning.pool import run_trials
from asyncgg.tuning.recorded import load_run, scenario_from_run
from asyncgg.tuning.report import (
    describe_scenario,
    format_replay,
    format_sweep,
    replay_to_dict,
    sweep_to_dict,
    write_csv,
)
from asyncgg.tuning.sweep import SweepResult, default_batches, run_sweep
from asyncgg.tuning.trial import TrialSetup
from asyncgg.tuning.values import Configuration, Workload

__all__ = ["replay_journal", "try_out"]

_CORES: Final = 50
_REPLAYED: Final = 1500
"""Batches of a past run that are tried at most, unless told."""
_CONFIRMED: Final = 2
"""Candidates that are tried in real time."""
_SLOWEST: Final = 0.001
"""Requests a second. The virtual clock has too few digits for much less, and would stand still."""


def try_out(given: Mapping[str, Any], output: Output) -> int:
    """`asyncgg tune` for a described service."""
    path: Path | None = given["service"]
    _check_places(given, path, "service's file")
    script = build_scenario(given, read_service(path) if path else None, str(path or ""))
    if script.quota < _SLOWEST:
        raise SettingsError(f"--quota: {script.quota:g} is less than {_SLOWEST:g} requests a second")
    batches = default_batches(script.quota if script.quota < 1e6 else 30.0)
    setup = TrialSetup(script, _work(given, batches, _CORES), documented_quota(given["region"] or ""))
    swept = _sweep(given, setup, output)
    return _finish(given, output, swept, f"for {describe_scenario(script)}", sweep_to_dict, format_sweep)


def replay_journal(journal: Path, given: Mapping[str, Any], output: Output) -> int:
    """`asyncgg tune --replay`."""
    _check_places(given, journal, "journal")
    recorded = load_run(journal)
    asked = build_scenario({"quota": given["quota"], "burst": given["burst"]})
    script, source = scenario_from_run(
        recorded,
        quota=None if given["quota"] is None else asked.quota,
        burst=None if given["burst"] is None else asked.burst,
    )
    whole = recorded.workload
    work = _work(given, min(whole.batches, _REPLAYED), whole.cores)
    swept = _sweep(given, TrialSetup(script, work, recorded.documented), output, extra=[recorded.config])

    def document(swept: SweepResult, confirmed: Sequence[ConfirmedTrial]) -> dict[str, Any]:
        return sweep_to_dict(swept, confirmed) | replay_to_dict(recorded, source, swept)

    def lines(swept: SweepResult, confirmed: Sequence[ConfirmedTrial]) -> list[str]:
        return [*format_replay(recorded, source, swept), *format_sweep(swept, confirmed)]

    return _finish(given, output, swept, f"from {journal.name}", document, lines)


def _check_places(given: Mapping[str, Any], source: Path | None, kind: str) -> None:
    """Refuse results that have no place to go, or one that is taken: now, and not after the work.

    `source` is the `kind` of file that the results are made from, if there is one.
    """
    places: dict[Path, str] = {}
    for name in ("write", "out", "plot"):
        path: Path | None = given[name]
        if path is None:
            continue
        place = checked_output_path(path, *((source, kind) if source else (path.parent, "folder")))
        if not place.parent.is_dir():
            raise UsageError(f"{path}: it cannot be written: there is no such directory")
        if place in places and (place.is_file() or not place.exists()):
            raise UsageError(f"{path}: --{places[place]} goes there already; give --{name} another file")
        places[place] = name
    if given["write"]:
        read_existing(given["write"], replace=bool(given["replace"]))
    if given["plot"]:
        image_format(given["plot"])
        require_matplotlib()


def _sweep(
    given: Mapping[str, Any], setup: TrialSetup, output: Output, *, extra: Sequence[Configuration] = ()
) -> SweepResult:
    grid = _grid(given, setup.scenario)
    with interrupting(), Ticker(output) as ticker:
        return run_sweep(grid, setup, jobs=given["jobs"], seed=given["seed"] or 0, extra=extra, on_trial=ticker.show)


def _finish(
    given: Mapping[str, Any],
    output: Output,
    swept: SweepResult,
    what: str,
    document: Callable[[SweepResult, Sequence[ConfirmedTrial]], dict[str, Any]],
    told: Callable[[SweepResult, Sequence[ConfirmedTrial]], list[str]],
) -> int:
    """Confirm, and put the results where they are wanted."""
    with interrupting():
        confirmed = [] if given["no_confirm"] else _confirm(swept, output)
        lines = told(swept, confirmed)
        if swept.recommendation is not None:
            comment = f"asyncgg tune, {time.strftime('%Y-%m-%d', time.gmtime())}, {what}"
            lines += ["", render_settings(swept.recommendation.trial.config, comment).rstrip()]
            if given["write"]:
                write_settings(
                    given["write"], swept.recommendation.trial.config, comment, replace=bool(given["replace"])
                )
                lines.append(f"written to {given['write']}")
        if given["out"]:
            with atomic_write_text(given["out"], given["out"].parent, "folder") as file:
                write_csv(file, swept)
        if given["plot"]:
            plot_sweep(swept, given["plot"])
        output.result(document(swept, confirmed), lines)
    return 0 if swept.recommendation is not None else 3


def _work(given: Mapping[str, Any], batches: int, cores: int) -> Workload:
    """The work of a trial; what is not given is as here."""
    return Workload(
        *(one if one is not None else other for one, other in ((given["batches"], batches), (given["cores"], cores)))
    )


def _grid(given: Mapping[str, Any], script: Scenario) -> Grid:
    def values(name: str, **how: bool) -> list[Any]:
        text = given[name]
        return [] if text is None else list(parse_numbers(f"--{name.replace('_', '-')}", text, **how))

    rates = values("rates")
    if slow := [rate for rate in rates if rate < _SLOWEST]:
        raise SettingsError(f"--rates: {slow[0]:g} is less than {_SLOWEST:g} requests a second")
    bursts = values("bursts", auto=True)
    if low := [burst for burst in bursts if burst is not None and burst < 1]:
        raise SettingsError(f"--bursts: {low[0]:g} is less than 1, with which nothing would ever start")
    return build_grid(
        script,
        rates=rates,
        bursts=bursts,
        concurrencies=[int(value) for value in values("concurrencies", whole=True)],
        per_cores=[int(value) for value in values("per_cores", whole=True)],
    )


def _confirm(swept: SweepResult, output: Output) -> list[ConfirmedTrial]:
    """The best few in real time, each beside the same piece of work on the virtual clock."""
    script = swept.setup.scenario
    work = confirmation_workload(script, swept.setup.workload)
    settings = simulator_settings(script, work)
    if settings is None:
        if isinstance(script.latency, JitteredLatency) and not output.quiet:  # a replay does not promise it
            output.say("not confirmed in real time: the simulator cannot play others or steps")
        return []
    setup = TrialSetup(script, work, swept.setup.documented)
    best = swept.candidates[:_CONFIRMED]
    expected = run_trials([(trial.config, 0) for trial in best], setup, jobs=1)
    found = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncgg-tune-")))
        url = stack.enter_context(simulator(settings))
        stack.enter_context(nobody())
        for number, virtual in enumerate(expected):
            if not output.quiet:
                output.say(f"in real time, {number + 1} of {len(expected)}: about {virtual.seconds:.0f} s")
            found.append(ConfirmedTrial(run_loop(confirm(virtual.config, url, folder / f"{number}.journal")), virtual))
    return found
