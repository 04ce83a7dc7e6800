"""Renders the report of a policy run as an HTML page, with its journal and the trend of earlier runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg import __version__
from asyncgg.errors import UsageError
from asyncgg.formatting import format_count, sanitize
from asyncgg.journal import JournalReader
from asyncgg.report.charts import Chart, make_chart
from asyncgg.report.html import render
from asyncgg.report.run_report import Verdict, load_run_report
from asyncgg.report.svg import COLORS
from asyncgg.run_directory import RunDirectory, list_run_directories

_MAX_TREND: Final = 30
"""Runs in the trend, the last one is that of the page."""
_LEVELS: Final = {0: "good", 10: "warning", 130: "warning"}


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One run of the policy in the trend."""

    name: str
    state: str
    examined: int
    selected: int
    done: int
    failed: int
    seconds: float


def find_run_directory(path: Path) -> RunDirectory | None:
    """The run of a policy at `path`, its folder or its report.json; None if there is no report."""
    run_dir = RunDirectory(path.parent if path.name == "report.json" else path)
    return run_dir if run_dir.report.is_file() else None


def render_cleanup_page(run_dir: RunDirectory, *, generated_at: float, draw: bool) -> str:
    """The page of a run. `draw`: whether charts can be drawn.

    Raises `UsageError` if the report cannot be read, and `JournalError` if the journal cannot.
    """
    document = run_dir.load_report()
    if not document:
        raise UsageError(f"{run_dir.report}: not the report of a policy run")
    run = None
    if run_dir.has_journal:
        with JournalReader(run_dir.journal) as reader:
            run = load_run_report(reader, reader.summary(), generated_at=generated_at, draw=draw)
    trend = _load_trend(run_dir)
    chart = _trend_chart(trend, _limit(document, "max-things"), draw=draw) if len(trend) > 1 else None
    return render(
        "cleanup.html",
        document=document,
        verdict=_verdict(document),
        report=run,
        trend=trend,
        trend_charts=[chart] if chart else [],
        generated_at=generated_at,
        version=__version__,
        folder=str(run_dir.folder),
    )


def _verdict(document: Mapping[str, Any]) -> Verdict:
    decisions, things = document.get("decisions") or {}, (document.get("run") or {}).get("things") or {}
    parts = []
    if decisions:
        parts.append(f"{decisions['selected']:,} of {decisions['examined']:,} examined associations selected")
    if things:
        parts.append(f"{things.get('disassociated', 0):,} disassociated, {things.get('failed', 0):,} failed")
    reason = sanitize(document.get("reason") or "")
    state = str(document.get("state", ""))
    sentence = f"{'; '.join(parts)}{'. ' if parts else ''}{reason[:1].upper()}{reason[1:]}".strip()
    badge = "Dry run" if document.get("dry_run") and state == "planned" else state.capitalize()
    level = "warning" if document.get("dry_run") else _LEVELS.get(int(document.get("exit", 1)), "bad")
    return Verdict(level, badge, f"{sentence.rstrip('.')}." if sentence else "")


def _limit(document: Mapping[str, Any], name: str) -> float | None:
    return next((limit["limit"] for limit in document.get("limits") or () if limit["name"] == name), None)


def _load_trend(run_dir: RunDirectory) -> list[TrendPoint]:
    """This run and the ones before it, oldest first; those without a report are left out."""
    runs = [*list_run_directories(run_dir.folder.parent)]
    if run_dir.folder not in [item.folder for item in runs]:  # a dry run comes after all of them
        runs.append(run_dir)
    names = [item.name for item in runs]
    points = []
    for item in runs[: names.index(run_dir.name) + 1][-_MAX_TREND:]:
        document = item.load_report()
        if not document:
            continue
        decisions, run = document.get("decisions") or {}, document.get("run") or {}
        things = run.get("things") or {}
        points.append(
            TrendPoint(
                item.name,
                str(document.get("state", "")),
                int(decisions.get("examined", 0)),
                int(decisions.get("selected", 0)),
                int(things.get("disassociated", 0)) + int(things.get("already", 0)),
                int(things.get("failed", 0)),
                float(run.get("seconds", 0)),
            )
        )
    return points


def _trend_chart(trend: Sequence[TrendPoint], limit: float | None, *, draw: bool) -> Chart:
    last, before = trend[-1], [point.selected for point in trend[:-1]]
    text = (
        f"{format_count(last.selected, 'thing')} selected; {format_count(len(before), 'earlier run')} selected"
        f" {min(before):,} to {max(before):,}."
    )
    if limit is not None:
        text += f" The limit is {limit:,}."

    def plot(figure: Any) -> None:
        axes = figure.add_subplot()
        positions = range(len(trend))
        axes.bar(positions, [point.selected for point in trend], color=COLORS["accent-light"], label="selected")
        style = {"color": COLORS["bad"], "hatch": "///", "linewidth": 0, "width": 0.4}
        axes.bar(positions, [point.failed for point in trend], label="failed", **style)
        if limit is not None:
            axes.axhline(limit, color=COLORS["text"], linewidth=1, linestyle="--", label="max-things")
        ticks = sorted({0, len(trend) // 2, len(trend) - 1})
        axes.set_xticks(ticks, [f"{trend[number].name[4:6]}-{trend[number].name[6:8]}" for number in ticks])
        axes.grid(visible=False, axis="x")
        axes.margins(y=0.3)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend(ncols=3, loc="upper left")

    return make_chart("trend", "Things by run", text, plot, draw=draw)
