"""Format the results of a sweep as text, JSON and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import IO, Any, Final

from asyncgg.formatting import format_duration
from asyncgg.testing import JitteredLatency, Latency, Scenario
from asyncgg.tuning.confirm import ConfirmedTrial
from asyncgg.tuning.models import Configuration, Trial
from asyncgg.tuning.recommend import describe, pareto_front
from asyncgg.tuning.replay import RecordedRun
from asyncgg.tuning.settings_file import to_settings
from asyncgg.tuning.sweep import SweepResult

SCHEMA: Final = "asyncgg.tune/1"

_COLUMNS: Final = (
    "rate",
    "burst",
    "concurrency",
    "per_core",
    "seconds",
    "sent",
    "throttled",
    "throttled_share",
    "max_in_flight",
    "complete",
    "pareto_front",
    "chosen",
)


def describe_scenario(scenario: Scenario) -> str:
    """Return the scenario as text."""
    parts = [
        f"{scenario.quota:.4g} requests/s",
        f"burst {scenario.burst:.4g}",
        f"latency {_format_latency(scenario.latency)}",
    ]
    if scenario.background_rate:
        parts.append(f"background {scenario.background_rate:g}/s")
    if scenario.retry_after:
        parts.append(f"Retry-After {scenario.retry_after:g} s")
    if scenario.faults:
        parts.append(f"{100 * scenario.faults[0].share:g} % errors")
    if scenario.changes:
        parts.append(f"{len(scenario.changes)} scheduled changes")
    return ", ".join(parts)


def visible_slice(result: SweepResult) -> list[Trial]:
    """Return the trials that differ from the recommended one only in rate and concurrency.

    `per_core` is at most the concurrency, so smaller values belong to the same table.
    """
    first = result.recommendation.trial if result.recommendation else result.trials[0]
    burst, per_core = first.config.burst, max(trial.config.per_core for trial in result.trials)
    per_core = per_core if first.config.concurrency <= first.config.per_core else first.config.per_core
    return [
        trial
        for trial in result.trials
        if trial.config.burst == burst and trial.config.per_core == min(per_core, trial.config.concurrency)
    ]


def format_sweep(result: SweepResult, confirmed: Sequence[ConfirmedTrial]) -> list[str]:
    """Return the table and the recommendation as lines of text."""
    workload = result.setup.workload
    service_time, elapsed = format_duration(result.service_seconds), format_duration(result.seconds)
    lines = [
        f"service    {describe_scenario(result.setup.scenario)}",
        f"workload   {workload.batches:,} batches on {workload.cores:,} cores, at least {result.ideal_seconds:.1f} s",
        f"trials     {len(result.trials):,} configurations, {service_time} of service time in {elapsed}",
        "",
        *_format_matrix(result),
    ]
    if confirmed:
        lines += ["", *_format_confirmed(confirmed)]
    if result.recommendation is None:
        return [*lines, "", "no recommendation: no configuration completed the workload"]
    lines += ["", f"recommended  {describe(result.recommendation.trial.config)}"]
    lines += [f"  - {reason}" for reason in result.recommendation.reasons]
    return lines


def sweep_to_dict(result: SweepResult, confirmed: Sequence[ConfirmedTrial]) -> dict[str, Any]:
    """Return the result as a JSON object of schema `asyncgg.tune/1`."""
    recommendation = result.recommendation
    return {
        "schema": SCHEMA,
        "mode": "offline",
        "service": scenario_to_dict(result.setup.scenario),
        "work": {"batches": result.setup.workload.batches, "cores": result.setup.workload.cores},
        "chosen": None if recommendation is None else trial_to_dict(recommendation.trial),
        "never_throttled": None if recommendation is None else recommendation.never_throttled,
        "settings": None if recommendation is None else to_settings(recommendation.trial.config),
        "reasons": [] if recommendation is None else list(recommendation.reasons),
        "ideal_seconds": round(result.ideal_seconds, 3),
        "pareto_front": [trial_to_dict(trial) for trial in pareto_front(result.trials)],
        "trials": [trial_to_dict(trial) for trial in result.trials],
        "confirmed": [
            {"real_time": trial_to_dict(item.real_time), "virtual_time": trial_to_dict(item.virtual_time)}
            for item in confirmed
        ],
        "service_seconds": round(result.service_seconds, 3),
        "seconds": round(result.seconds, 3),
    }


def format_replay(run: RecordedRun, source: str, result: SweepResult) -> list[str]:
    """Return the recorded run and its reproduction as lines of text, to print above the sweep."""
    baseline = baseline_trial(run, result)
    tried_batches, total_batches = result.setup.workload.batches, run.workload.batches
    lines = [
        f"recorded   {run.sent:,} requests in {format_duration(run.seconds)}, {run.throttled:,} throttled",
        f"           with {describe(run.config)}",
        f"quota      {result.setup.scenario.quota:.4g}/s, burst {result.setup.scenario.burst:.4g}: {source}",
    ]
    if baseline is not None:
        scaled = baseline.seconds * total_batches / tried_batches
        lines.append(f"replayed   {scaled:.1f} s with the same settings, {baseline.throttled:,} throttled")
    if tried_batches < total_batches:
        lines.append(
            f"           trials run {tried_batches:,} of {total_batches:,} batches;"
            f" all batches take {total_batches / tried_batches:.1f} times as long"
        )
    return lines


def replay_to_dict(run: RecordedRun, source: str, result: SweepResult) -> dict[str, Any]:
    """Return the members that a replay adds to the JSON object."""
    baseline = baseline_trial(run, result)
    return {
        "mode": "replay",
        "recorded": {
            "journal": str(run.journal),
            "batches": run.workload.batches,
            "cores": run.workload.cores,
            "seconds": round(run.seconds, 3),
            "sent": run.sent,
            "throttled": run.throttled,
            "settings": asdict(run.config),
            "quota_source": source,
            "replayed": None if baseline is None else trial_to_dict(baseline),
        },
    }


def baseline_trial(run: RecordedRun, result: SweepResult) -> Trial | None:
    """Return the trial of the settings of the recorded run."""
    return next((trial for trial in result.trials if trial.config == run.config), None)


def trial_to_dict(trial: Trial) -> dict[str, Any]:
    """Return a trial as a JSON object; an automatic burst is null."""
    return {
        **asdict(trial.config),
        "seconds": round(trial.seconds, 3),
        "sent": trial.sent,
        "throttled": trial.throttled,
        "throttled_share": round(trial.throttled_share, 6),
        "max_in_flight": trial.max_in_flight,
        "complete": trial.complete,
    }


def scenario_to_dict(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as a JSON object; an unlimited quota is null."""
    latency = scenario.latency
    latency_fields = {"latency": latency.base, "jitter": latency.jitter} if isinstance(latency, JitteredLatency) else {}
    return {
        "quota": None if scenario.quota == float("inf") else scenario.quota,
        "burst": scenario.burst,
        **latency_fields,
        "background_rate": scenario.background_rate,
        "retry_after": scenario.retry_after,
        "errors": scenario.faults[0].share if scenario.faults else 0.0,
        "steps": len(scenario.changes),
    }


def write_csv(file: IO[str], result: SweepResult) -> None:
    """Write each trial as a CSV row in the order of the trials; an automatic burst is empty."""
    chosen = result.recommendation.trial if result.recommendation else None
    front = pareto_front(result.trials)
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for trial in result.trials:
        row = trial_to_dict(trial) | {"pareto_front": int(trial in front), "chosen": int(trial is chosen)}
        writer.writerow(row | {"complete": int(trial.complete)})


def _format_latency(latency: Latency) -> str:
    if isinstance(latency, JitteredLatency):
        jitter_note = f" + {latency.jitter * 1000:g} ms random" if latency.jitter else ""
        return f"{latency.base * 1000:g} ms{jitter_note}"
    return "recorded"


def _format_matrix(result: SweepResult) -> Iterable[str]:
    trials = visible_slice(result)
    rates = sorted({trial.config.rate for trial in trials})
    concurrencies = sorted({trial.config.concurrency for trial in trials})
    by_cell = {(trial.config.rate, trial.config.concurrency): trial for trial in trials}
    first = result.recommendation.trial.config if result.recommendation else trials[0].config
    burst = "auto" if first.burst is None else f"{first.burst:g}"
    yield f"seconds and share throttled by rate and concurrency, burst {burst} (* recommended)"
    rows = [
        ["rate/s", *map(str, concurrencies)],
        *([f"{rate:g}", *(_format_cell(by_cell.get((rate, n)), first) for n in concurrencies)] for rate in rates),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "   ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))


def _format_cell(trial: Trial | None, chosen: Configuration) -> str:
    if trial is None:
        return ""
    mark = "*" if trial.config == chosen else ""
    if not trial.complete:
        return f"{mark}incomplete"
    share = f" {100 * trial.throttled_share:.1f} %" if trial.throttled else ""
    return f"{mark}{trial.seconds:.1f}{share}"


def _format_confirmed(confirmed: Sequence[ConfirmedTrial]) -> Iterable[str]:
    yield "confirmed in real time against the simulator, with a shorter workload"
    for item in confirmed:
        gap = 100 * (item.real_time.seconds / item.virtual_time.seconds - 1)
        yield (
            f"  {describe(item.real_time.config)}: {item.real_time.seconds:.1f} s, {item.real_time.throttled} throttled"
            f" (expected {item.virtual_time.seconds:.1f} s, {item.virtual_time.throttled}; {gap:+.1f} %)"
        )
