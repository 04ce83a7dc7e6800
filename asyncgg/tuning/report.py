"""Rule: what a sweep came to, as lines for a person, as the JSON object of the contract and as CSV; pure."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

from asyncgg.report.summary import format_duration
from asyncgg.testing import JitteredLatency, Latency, Scenario
from asyncgg.tuning.block import settings_of
from asyncgg.tuning.choose import frontier, shown
from asyncgg.tuning.confirm import Confirmed
from asyncgg.tuning.recorded import Recorded
from asyncgg.tuning.sweep import Swept
from asyncgg.tuning.values import Point, Trial

__all__ = [
    "SCHEMA",
    "replayed_lines",
    "replayed_object",
    "slice_of",
    "swept_lines",
    "swept_object",
    "told",
    "write_csv",
]

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
    "most_in_flight",
    "complete",
    "frontier",
    "chosen",
)


def told(script: Scenario) -> str:
    """The service in a phrase."""
    parts = [f"{script.quota:.4g} requests/s", f"burst {script.burst:.4g}", f"latency {_latency(script.latency)}"]
    if script.background_rate:
        parts.append(f"others send {script.background_rate:g}/s")
    if script.retry_after:
        parts.append(f"Retry-After {script.retry_after:g} s")
    if script.faults:
        parts.append(f"{100 * script.faults[0].share:g} % errors")
    if script.changes:
        parts.append(f"{len(script.changes)} changes on the way")
    return ", ".join(parts)


def slice_of(swept: Swept) -> list[Trial]:
    """The trials that share burst and requests per core with the chosen point (or with the first): a plane to look at.

    Concurrency bounds requests per core from below, so a smaller one belongs to the plane as well.
    """
    first = swept.choice.trial if swept.choice else swept.trials[0]
    burst, per_core = first.point.burst, max(trial.point.per_core for trial in swept.trials)
    per_core = per_core if first.point.concurrency <= first.point.per_core else first.point.per_core
    return [
        trial
        for trial in swept.trials
        if trial.point.burst == burst and trial.point.per_core == min(per_core, trial.point.concurrency)
    ]


def swept_lines(swept: Swept, confirmed: Sequence[Confirmed]) -> list[str]:
    """The table and the recommendation for a person."""
    work, took = swept.setup.work, format_duration(swept.seconds)
    lines = [
        f"service    {told(swept.setup.script)}",
        f"work       {work.batches:,} batches on {work.cores:,} cores; the quota itself takes {swept.ideal:.1f} s",
        f"tried      {len(swept.trials):,} settings, {format_duration(swept.service_seconds)} of service time in {took}",
        "",
        *_matrix(swept),
    ]
    if confirmed:
        lines += ["", *_confirmed(confirmed)]
    if swept.choice is None:
        return [*lines, "", "no recommendation: nothing that was tried came to its end"]
    lines += ["", f"recommended  {shown(swept.choice.trial.point)}"]
    lines += [f"  - {reason}" for reason in swept.choice.reasons]
    return lines


def swept_object(swept: Swept, confirmed: Sequence[Confirmed]) -> dict[str, Any]:
    """The same as `asyncgg.tune/1`."""
    choice = swept.choice
    return {
        "schema": SCHEMA,
        "mode": "offline",
        "service": script_object(swept.setup.script),
        "work": {"batches": swept.setup.work.batches, "cores": swept.setup.work.cores},
        "chosen": None if choice is None else trial_object(choice.trial),
        "clean": None if choice is None else choice.clean,
        "settings": None if choice is None else settings_of(choice.trial.point),
        "reasons": [] if choice is None else list(choice.reasons),
        "ideal_seconds": round(swept.ideal, 3),
        "frontier": [trial_object(trial) for trial in frontier(swept.trials)],
        "trials": [trial_object(trial) for trial in swept.trials],
        "confirmed": [{"real": trial_object(one.real), "virtual": trial_object(one.virtual)} for one in confirmed],
        "service_seconds": round(swept.service_seconds, 3),
        "seconds": round(swept.seconds, 3),
    }


def replayed_lines(recorded: Recorded, source: str, swept: Swept) -> list[str]:
    """What a replay says above its table: what was recorded, and how well the trials tell it again."""
    own = own_trial(recorded, swept)
    tried, whole = swept.setup.work.batches, recorded.work.batches
    lines = [
        f"recorded   {recorded.sent:,} requests in {format_duration(recorded.seconds)}, {recorded.throttled:,} throttled",
        f"           with {shown(recorded.point)}",
        f"quota      {swept.setup.script.quota:.4g}/s, burst {swept.setup.script.burst:.4g}: {source}",
    ]
    if own is not None:
        scaled = own.seconds * whole / tried
        lines.append(f"replayed   the same settings take {scaled:.1f} s in a trial, {own.throttled:,} throttled")
    if tried < whole:
        lines.append(
            f"           trials are of {tried:,} of its {whole:,} batches; the whole takes {whole / tried:.1f} x"
        )
    return lines


def replayed_object(recorded: Recorded, source: str, swept: Swept) -> dict[str, Any]:
    """The same as members of the JSON object."""
    own = own_trial(recorded, swept)
    return {
        "mode": "replay",
        "recorded": {
            "journal": str(recorded.journal),
            "batches": recorded.work.batches,
            "cores": recorded.work.cores,
            "seconds": round(recorded.seconds, 3),
            "sent": recorded.sent,
            "throttled": recorded.throttled,
            "settings": _point_object(recorded.point),
            "quota_known": source,
            "replayed": None if own is None else trial_object(own),
        },
    }


def own_trial(recorded: Recorded, swept: Swept) -> Trial | None:
    """The trial of the settings that the run was begun with."""
    return next((trial for trial in swept.trials if trial.point == recorded.point), None)


def trial_object(trial: Trial) -> dict[str, Any]:
    """A trial as a JSON object; an automatic burst is null."""
    return {
        **_point_object(trial.point),
        "seconds": round(trial.seconds, 3),
        "sent": trial.sent,
        "throttled": trial.throttled,
        "throttled_share": round(trial.throttled_share, 6),
        "most_in_flight": trial.most_in_flight,
        "complete": trial.complete,
    }


def script_object(script: Scenario) -> dict[str, Any]:
    """A service as a JSON object; no quota is null."""
    latency = script.latency
    own = {"latency": latency.base, "jitter": latency.jitter} if isinstance(latency, JitteredLatency) else {}
    return {
        "quota": None if script.quota == float("inf") else script.quota,
        "burst": script.burst,
        **own,
        "others": script.background_rate,
        "retry_after": script.retry_after,
        "errors": script.faults[0].share if script.faults else 0.0,
        "steps": len(script.changes),
    }


def write_csv(file: IO[str], swept: Swept) -> None:
    """Every trial as a row, in the order they were tried; an automatic burst is empty."""
    chosen = swept.choice.trial if swept.choice else None
    best = frontier(swept.trials)
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for trial in swept.trials:
        row = trial_object(trial) | {"frontier": int(trial in best), "chosen": int(trial is chosen)}
        writer.writerow(row | {"complete": int(trial.complete)})


def _point_object(point: Point) -> dict[str, Any]:
    return {name: getattr(point, name) for name in ("rate", "burst", "concurrency", "per_core")}


def _latency(latency: Latency) -> str:
    if isinstance(latency, JitteredLatency):
        more = f" + {latency.jitter * 1000:g} ms at random" if latency.jitter else ""
        return f"{latency.base * 1000:g} ms{more}"
    return "as recorded"


def _matrix(swept: Swept) -> Iterable[str]:
    plane = slice_of(swept)
    rates = sorted({trial.point.rate for trial in plane})
    widths = sorted({trial.point.concurrency for trial in plane})
    by_place = {(trial.point.rate, trial.point.concurrency): trial for trial in plane}
    first = swept.choice.trial.point if swept.choice else plane[0].point
    burst = "auto" if first.burst is None else f"{first.burst:g}"
    yield f"seconds, and what part was throttled; burst {burst}, * the recommendation"
    yield "   rate/s" + "".join(f"{f'{width} at once':>16}" for width in widths)
    for rate in rates:
        cells = [_cell(by_place.get((rate, width)), first) for width in widths]
        yield f"{rate:>9g}" + "".join(f"{cell:>16}" for cell in cells)


def _cell(trial: Trial | None, chosen: Point) -> str:
    if trial is None:
        return ""
    mark = "*" if trial.point == chosen else ""
    if not trial.complete:
        return f"{mark}never ended"
    share = f" {100 * trial.throttled_share:.1f} %" if trial.throttled else ""
    return f"{mark}{trial.seconds:.1f}{share}"


def _confirmed(confirmed: Sequence[Confirmed]) -> Iterable[str]:
    yield "in real time, against the simulator, a shorter run"
    for one in confirmed:
        gap = 100 * (one.real.seconds / one.virtual.seconds - 1)
        yield (
            f"  {shown(one.real.point)}: {one.real.seconds:.1f} s, {one.real.throttled} throttled"
            f" (expected {one.virtual.seconds:.1f} s, {one.virtual.throttled}; {gap:+.1f} %)"
        )
