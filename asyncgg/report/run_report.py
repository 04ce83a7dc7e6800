"""Collects from a journal what a report shows, as values for the templates."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from asyncgg import __version__
from asyncgg.classify import FailureKind, failure_kind
from asyncgg.formatting import format_count, format_counts, format_duration, sanitize
from asyncgg.journal import (
    CoreOutcomes,
    FailureGroup,
    JournalReader,
    RateDecision,
    RunStart,
    failure_groups,
    finished_things,
    last_request_at,
    run_starts,
    worst_cores,
)
from asyncgg.models import RunState, Summary
from asyncgg.ratelimit import documented_quota
from asyncgg.report.charts import Chart, TimeSeries, cores_chart, time_charts
from asyncgg.report.summary import format_summary, next_commands
from asyncgg.report.timeline import RunningTime, TimeBin, group_by_time
from asyncgg.report.undo_marks import UndoMark, read_undo_marks
from asyncgg.report.verification import load_verification_record
from asyncgg.settings import Settings

MAX_CORES: Final = 3_000
"""Cores on a page, the worst first; a row takes about 350 bytes."""
MAX_CODES: Final = 20
MAX_EXAMPLES: Final = 25
"""Failed things of each code."""

_GUARDS: Final = {
    "max_things": "Maximum things",
    "expect_account": "Expected account",
    "protect": "Protect list",
    "abort_at": "Abort at failed share, %",
    "abort_after": "Abort rule applies after things",
    "deadline": "Deadline, s",
    "continue_when_denied": "Continue when denied",
    "skip_bad_rows": "Skip bad rows",
    "snapshot": "Snapshot before the run",
}
BADGES: Final[Mapping[RunState, tuple[str, str]]] = {
    RunState.PLANNED: ("warning", "Not started"),
    RunState.RUNNING: ("warning", "Running"),
    RunState.COMPLETE: ("good", "Complete"),
    RunState.PARTIAL: ("bad", "Completed with failures"),
    RunState.ABORTED: ("bad", "Aborted"),
    RunState.DEADLINE: ("warning", "Stopped at the deadline"),
    RunState.INTERRUPTED: ("warning", "Interrupted"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended: a badge and one sentence."""

    level: str
    """`good`, `warning` or `bad`: the color of the badge."""
    badge: str
    sentence: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything a report of a run shows."""

    summary: Summary
    meta: Mapping[str, str]
    verdict: Verdict
    warnings: tuple[str, ...]
    next: tuple[str, ...]
    starts: tuple[RunStart, ...]
    started_at: float
    ended_at: float | None
    """The last request or reply; None if nothing was sent."""
    guards: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, int, str], ...]
    """What was not sent: label, number, examples."""
    already_codes: Mapping[str, int]
    bins: tuple[TimeBin, ...]
    decisions: tuple[RateDecision, ...]
    charts: tuple[Chart, ...]
    cores: tuple[CoreOutcomes, ...]
    core_count: int
    failures: tuple[tuple[FailureGroup, tuple[str, ...]], ...]
    """The codes and the commands that can help."""
    verification: Mapping[str, Any] | None
    verified_before_undo: bool
    undos: tuple[UndoMark, ...]
    settings: tuple[tuple[str, str, bool], ...]
    """Name, value, and whether it differs from the default."""
    generated_at: float
    version: str = __version__
    exports: tuple[str, ...] = ()
    """Paths of lists, relative to the report."""

    @property
    def quoted_journal(self) -> str:
        """The path of the journal as a word of a shell."""
        return shlex.quote(self.summary.journal)


def load_run_report(reader: JournalReader, summary: Summary, *, generated_at: float, draw: bool) -> RunReport:
    """Collect the report of a run with this summary. `draw`: whether charts can be drawn. Raises `JournalError`."""
    meta = reader.meta()
    reason = "" if summary.state is RunState.RUNNING else meta.get("reason", "")
    starts, decisions, undos = run_starts(reader), reader.rate_decisions(), read_undo_marks(reader)
    time = RunningTime(starts)
    bins = group_by_time(time, reader.requests(), finished_things(reader))
    cores = worst_cores(reader, MAX_CORES)
    settings = reader.settings()
    charts: list[Chart] = []
    if bins:
        quota = float(settings.get("quota") or documented_quota(meta.get("region", "")))
        participle = summary.operation.past_participle
        series = TimeSeries(bins, time, decisions, quota, summary.total, participle)
        charts = time_charts(series, draw=draw)
    if (chart := cores_chart(cores, draw=draw)) is not None:
        charts.append(chart)
    groups = failure_groups(reader, MAX_CODES, MAX_EXAMPLES)
    last_at = last_request_at(reader)
    record = load_verification_record(reader.path, summary.run, last_at)
    verified_at = datetime.fromisoformat(record["finished_at"]).timestamp() if record else 0.0
    text = format_summary(summary, reason=sanitize(reason) if reason else "")
    return RunReport(
        summary=summary,
        meta=meta,
        verdict=_verdict(summary, reason, undos),
        warnings=tuple(line.split(None, 1)[1] for line in text if line.startswith("  warning")),
        next=tuple(next_commands(summary, undone=bool(undos))),
        starts=tuple(starts),
        started_at=float(meta.get("created") or 0),
        ended_at=last_at,
        guards=tuple(_guards(settings, summary)),
        left_out=tuple(_left_out(summary, meta)),
        already_codes=reader.codes_of_already(),
        bins=tuple(bins),
        decisions=tuple(decisions),
        charts=tuple(charts),
        cores=tuple(cores),
        core_count=int(meta.get("cores") or len(cores)),
        failures=tuple((group, tuple(commands_for_code(summary, group.code))) for group in groups),
        verification=record,
        verified_before_undo=any(mark.started_at > verified_at for mark in undos),
        undos=tuple(undos),
        settings=tuple(_settings(settings)),
        generated_at=generated_at,
    )


def commands_for_code(summary: Summary, code: str) -> list[str]:
    """The commands that can help with the failures of one code, as lines of a shell."""
    group = replace(summary, state=RunState.PARTIAL, failures={code: 1}, pending=0)
    commands = next_commands(group)
    if failure_kind(code) is FailureKind.MISSING:
        commands.append(f"asyncgg verify {shlex.quote(summary.journal)}")
    return commands


def _verdict(summary: Summary, reason: str, undos: list[UndoMark]) -> Verdict:
    level, badge = BADGES[summary.state]
    participle = summary.operation.past_participle
    sentence = f"{summary.disassociated:,} of {format_count(summary.total, 'thing')} {participle}"
    counts = (summary.already, "already before"), (summary.failed, "failed"), (summary.pending, "pending")
    sentence = f"{', '.join([sentence, *format_counts(*counts)])}, in {format_duration(summary.seconds)}."
    if reason:
        sentence += f" {sanitize(reason)[:1].upper()}{sanitize(reason)[1:]}."
    if undos:
        reverted = sum(mark.reverted for mark in undos)
        sentence += f" Later undone: {format_count(reverted, 'thing')} restored."
        level, badge = "warning", f"{badge}, then undone"
    return Verdict(level, badge, sentence)


def _guards(settings: Mapping[str, Any], summary: Summary) -> list[tuple[str, str]]:
    guards = [(label, settings[name]) for name, label in _GUARDS.items() if settings.get(name)]
    rows = [
        (label, "yes" if value is True else f"{value:,}" if isinstance(value, int) else str(value))
        for label, value in guards
    ]
    return [
        (label, f"{summary.total:,} of at most {value}" if label == _GUARDS["max_things"] else value)
        for label, value in rows
        if label != _GUARDS["abort_after"] or settings.get("abort_at")
    ]


def _left_out(summary: Summary, meta: Mapping[str, str]) -> list[tuple[str, int, str]]:
    rows = [
        ("protected", summary.protected, ""),
        ("bad rows", summary.rejected, ""),
        ("duplicates", summary.duplicates, ""),
        ("repeated headers", summary.header_rows, ""),
    ]
    for label, (count, examples) in json.loads(meta.get("left_out", "{}")).items():
        omitted = count - len(examples)
        more = f" and {omitted:,} more" if examples and omitted else ""
        rows.append((label, count, f"{', '.join(examples)}{more}"))
    return [row for row in rows if row[1]]


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    defaults = Settings().model_dump(mode="json")
    return [
        (name.replace("_", "-"), "auto" if value is None else sanitize(value), value != defaults.get(name))
        for name, value in sorted(settings.items())
        if value not in (None, {}, "") or defaults.get(name) not in (None, {}, "")
    ]
