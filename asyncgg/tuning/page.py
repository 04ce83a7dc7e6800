"""Renders a sweep as an HTML page: the recommendation, tables of its neighbours, charts and all trials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from asyncgg import __version__
from asyncgg.files import atomic_write_text
from asyncgg.report.charts import Chart, make_chart
from asyncgg.report.html import render
from asyncgg.report.run_report import Verdict
from asyncgg.report.svg import COLORS, is_available
from asyncgg.tuning.models import Trial
from asyncgg.tuning.plot import CLIP, draw_trade_offs
from asyncgg.tuning.recommend import describe, pareto_front
from asyncgg.tuning.replay import RecordedRun
from asyncgg.tuning.report import describe_scenario, visible_slice
from asyncgg.tuning.sweep import SweepResult

_MAX_HEAT: Final = 60.0
_MAX_LINES: Final = 5
_LINE_COLORS: Final = ("accent", "good", "warning", "bad", "muted")


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A trial in the table of rates and concurrencies."""

    trial: Trial
    heat: float
    """The strength of the color, in percent."""
    chosen: bool


@dataclass(frozen=True, slots=True)
class HeatRow:
    """The trials of one rate."""

    rate: float
    first_above_quota: bool
    cells: tuple[HeatCell | None, ...]


def write_sweep_page(
    result: SweepResult, path: Path, *, snippet: str, recorded: RecordedRun | None, generated_at: float
) -> None:
    """Write the page. `snippet` is the settings file; `recorded` the run of a replay. Raises `UsageError`."""
    chosen = result.recommendation.trial if result.recommendation else None
    service = describe_scenario(result.setup.scenario)
    trials = sorted(result.trials, key=lambda trial: (trial is not chosen, not trial.complete, trial.seconds))
    page = render(
        "sweep.html",
        result=result,
        verdict=_verdict(result, recorded),
        service=service,
        snippet=snippet,
        recorded=recorded,
        recorded_settings=describe(recorded.config) if recorded else "",
        concurrencies=sorted({trial.config.concurrency for trial in visible_slice(result)}),
        heat_rows=heat_rows(result),
        charts=_charts(result, draw=is_available()),
        trials=trials,
        front=pareto_front(result.trials),
        chosen=chosen,
        generated_at=generated_at,
        version=__version__,
    )
    with atomic_write_text(path) as file:
        file.write(page)


def heat_rows(result: SweepResult) -> list[HeatRow]:
    """The trials that differ from the recommended one in rate and concurrency, by rate.

    The color shows how much longer a trial took than the fastest; from `CLIP` times on all are equal,
    so that very slow ones do not hide the differences of the others.
    """
    trials = [trial for trial in visible_slice(result) if trial.complete]
    chosen = result.recommendation.trial if result.recommendation else None
    fastest = min((trial.seconds for trial in trials), default=1.0)
    by_cell = {(trial.config.rate, trial.config.concurrency): trial for trial in trials}
    concurrencies = sorted({trial.config.concurrency for trial in visible_slice(result)})
    available = result.setup.scenario.quota - result.setup.scenario.background_rate
    rows, was_above = [], False
    for rate in sorted({trial.config.rate for trial in trials}):
        cells = []
        for concurrency in concurrencies:
            trial = by_cell.get((rate, concurrency))
            slowness = 0.0 if trial is None else min(trial.seconds / fastest, CLIP) - 1
            heat = round(_MAX_HEAT * slowness / (CLIP - 1), 1)
            cells.append(HeatCell(trial, heat, trial is chosen) if trial else None)
        rows.append(HeatRow(rate, rate > available and not was_above, tuple(cells)))
        was_above = rate > available
    return rows


def _verdict(result: SweepResult, recorded: RecordedRun | None) -> Verdict:
    if result.recommendation is None:
        return Verdict("bad", "No recommendation", "No configuration completed the workload.")
    trial, workload = result.recommendation.trial, result.setup.workload
    throttling = (
        "no throttles" if result.recommendation.never_throttled else f"{100 * trial.throttled_share:.2g} % throttled"
    )
    sentence = f"{describe(trial.config)}: {trial.seconds:.1f} s, {throttling}, for {workload.batches:,} batches."
    if recorded is not None:
        sentence += f" The recorded run took {recorded.seconds:.1f} s with {describe(recorded.config)}."
    return Verdict("good", "Recommended", sentence[:1].upper() + sentence[1:])


def _charts(result: SweepResult, *, draw: bool) -> list[Chart]:
    completed = [trial for trial in result.trials if trial.complete]
    if not completed:
        return []
    fastest = min(completed, key=lambda trial: trial.seconds)
    rates = f"The shortest run time is {fastest.seconds:.1f} s at {fastest.config.rate:g} requests/s."
    front = pareto_front(result.trials)
    trade = f"{len(front)} of {len(completed)} trials are best trade-offs: no other is faster and throttled less."

    def plot_trade_offs(figure: Any) -> None:
        draw_trade_offs(figure.add_subplot(), result, COLORS)

    return [
        make_chart("rates", "Run time by rate and burst", rates, partial(_plot_rates, result=result), draw=draw),
        make_chart("trade-offs", "Run time and throttled share", trade, plot_trade_offs, draw=draw),
    ]


def _plot_rates(figure: Any, result: SweepResult) -> None:
    """Run time over rate, a line for each burst, at the concurrency of the recommendation."""
    axes = figure.add_subplot()
    first = result.recommendation.trial.config if result.recommendation else result.trials[0].config
    bursts = sorted({trial.config.burst for trial in result.trials}, key=lambda burst: burst or 0.0)
    for burst, color in zip(bursts[:_MAX_LINES], _LINE_COLORS, strict=False):
        trials = [
            trial
            for trial in result.trials
            if trial.complete
            and (trial.config.burst, trial.config.concurrency, trial.config.per_core)
            == (burst, first.concurrency, first.per_core)
        ]
        trials.sort(key=lambda trial: trial.config.rate)
        label = "auto" if burst is None else f"{burst:g}"
        points = [trial.config.rate for trial in trials], [trial.seconds for trial in trials]
        axes.plot(*points, marker="o", markersize=3.5, color=COLORS[color], label=f"burst {label}")
    available = result.setup.scenario.quota - result.setup.scenario.background_rate
    if available < 10 * max(trial.config.rate for trial in result.trials):
        axes.axvline(available, color=COLORS["text"], linewidth=1, linestyle="--", label="available quota")
    axes.set_xlabel(f"rate, requests/s (concurrency {first.concurrency})")
    axes.set_ylabel("run time, s")
    axes.set_ylim(bottom=0)
    axes.legend(ncols=2, loc="lower left")
