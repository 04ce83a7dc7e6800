"""Collects what the report of a campaign shows: its targets, and their failures grouped by code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from asyncgg import __version__
from asyncgg.errors import JournalError
from asyncgg.fleet.campaign import Campaign, CampaignLane
from asyncgg.fleet.results import LaneResult, campaign_exit_code, campaign_summary
from asyncgg.formatting import format_count, format_counts, format_duration, sanitize
from asyncgg.journal import FailureGroup, JournalReader, failure_groups, last_request_at, run_starts
from asyncgg.models import Summary
from asyncgg.ratelimit import documented_quota
from asyncgg.report.charts import Chart, TimeSeries, request_chart
from asyncgg.report.run_report import BADGES, MAX_CODES, Verdict, commands_for_code
from asyncgg.report.summary import next_commands
from asyncgg.report.timeline import RunningTime, group_by_time
from asyncgg.report.undo_marks import read_undo_marks
from asyncgg.report.verification import load_verification_record

_MAX_CHARTS: Final = 24
"""Targets with a chart, the worst ones; a chart takes about 15 kB and 50 ms."""
_MAX_NAMED: Final = 10
"""Targets and cores that are named for each code."""
_GOOD, _WARNING = frozenset({0}), frozenset({10, 130})


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One target in the table."""

    result: LaneResult
    account: str
    region: str
    level: str
    """`good`, `warning` or `bad`: the color of its state."""
    state: str
    proof: str
    """What a verification found; empty without one."""
    next: str
    """The command for this target alone; empty if nothing is left to do."""

    @property
    def done(self) -> int:
        """Things that its run changed."""
        return self.result.things.get("disassociated", 0) + self.result.things.get("associated", 0)

    @property
    def needs_help(self) -> bool:
        """Whether something is left to do, or to wait for."""
        return self.level != "good"

    def count(self, name: str) -> int:
        """Things in another state: `total`, `already`, `failed` or `pending`."""
        return self.result.things.get(name, 0)


@dataclass(frozen=True, slots=True)
class CampaignFailures:
    """The failed things with one code, in all targets."""

    code: str
    things: int
    cores: int
    target_count: int
    targets: tuple[tuple[str, int], ...]
    """The targets with the most of them, and their number."""
    worst_cores: tuple[tuple[str, int], ...]
    """As TARGET/CORE."""
    messages: tuple[tuple[str, int], ...]
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """Everything the report of a campaign shows."""

    folder: str
    verdict: Verdict
    summary: Summary
    """Of all targets together."""
    left_out: tuple[str, ...]
    """What was in the manifest and is in no run."""
    started_at: float | None
    ended_at: float | None
    next: tuple[str, ...]
    targets: tuple[TargetRow, ...]
    """The worst first."""
    failures: tuple[CampaignFailures, ...]
    charts: tuple[Chart, ...]
    generated_at: float
    version: str = __version__


@dataclass(slots=True)
class _LaneFacts:
    """What the journal of a target says beyond its result."""

    summary: Summary | None = None
    started_at: float | None = None
    ended_at: float | None = None
    groups: tuple[FailureGroup, ...] = ()
    proof: str = ""
    undone: int = 0


def load_campaign_report(campaign: Campaign, *, generated_at: float, draw: bool) -> CampaignReport:
    """Collect the report. `draw`: whether charts can be drawn. A broken journal makes its target poorer only."""
    results = campaign.results()
    with campaign.with_journals() as readable:
        lanes = {lane.name: lane for lane in readable.lanes}
        facts = {name: _read_facts(lane) for name, lane in lanes.items()}
        rows = [
            _row(lane, result, facts[lane.name], is_saved=campaign.state is not None)
            for lane, result in zip(campaign.lanes, results, strict=False)  # the others have no lane
        ]
        rows += [
            _row(CampaignLane(0, result.name, "", "", Path(result.journal)), result, _LaneFacts(), is_saved=False)
            for result in campaign.unprepared
        ]
        rows.sort(key=lambda row: (row.level == "good", -row.count("failed"), -row.count("pending"), row.result.name))
        shown = (lanes[row.result.name] for row in rows[:_MAX_CHARTS] if row.result.name in lanes)
        found = (_chart(lane, draw=draw) for lane in shown)
        charts = tuple(chart for chart in found if chart is not None)
    summary = campaign_summary(campaign.folder, results)
    undone = sum(fact.undone for fact in facts.values())
    starts = [fact.started_at for fact in facts.values() if fact.started_at]
    ends = [fact.ended_at for fact in facts.values() if fact.ended_at]
    return CampaignReport(
        folder=str(campaign.folder),
        verdict=_verdict(summary, results, undone),
        summary=summary,
        left_out=tuple(_left_out(campaign, summary)),
        started_at=min(starts, default=None),
        ended_at=max(ends, default=None),
        next=tuple(next_commands(summary, campaign_exit_code(results), undone=undone > 0)),
        targets=tuple(rows),
        failures=tuple(merge_failures({name: fact.groups for name, fact in facts.items()}, summary)),
        charts=charts,
        generated_at=generated_at,
    )


def merge_failures(groups: Mapping[str, Iterable[FailureGroup]], summary: Summary) -> list[CampaignFailures]:
    """The failures of all targets by code, most first. `summary` is that of the campaign."""
    by_code: dict[str, dict[str, FailureGroup]] = {}
    for target, found in groups.items():
        for group in found:
            by_code.setdefault(group.code, {})[target] = group
    merged = []
    for code, parts in by_code.items():
        messages: Counter[str] = Counter()
        cores: Counter[str] = Counter()
        for target, group in parts.items():
            messages.update(dict(group.messages))
            cores.update({f"{target}/{core}": things for core, things in group.worst_cores})
        targets = Counter({target: group.things for target, group in parts.items()})
        merged.append(
            CampaignFailures(
                code=code,
                things=targets.total(),
                cores=sum(group.cores for group in parts.values()),
                target_count=len(targets),
                targets=tuple(targets.most_common(_MAX_NAMED)),
                worst_cores=tuple(cores.most_common(_MAX_NAMED)),
                messages=tuple(messages.most_common(3)),
                commands=tuple(commands_for_code(summary, code)),
            )
        )
    return sorted(merged, key=lambda failures: (-failures.things, failures.code))[:MAX_CODES]


def _read_facts(lane: CampaignLane) -> _LaneFacts:
    facts = _LaneFacts()
    if lane.journal.exists():
        with suppress(JournalError), JournalReader(lane.journal) as reader:  # its result says why
            facts.summary = reader.summary()
            facts.started_at = float(reader.meta().get("created") or 0)
            facts.ended_at = last_request_at(reader)
            facts.groups = tuple(failure_groups(reader, MAX_CODES, 0))
            undos = read_undo_marks(reader)
            facts.undone = sum(mark.reverted for mark in undos)
            record = load_verification_record(lane.journal, facts.summary.run, facts.ended_at)
            if record is not None:
                verified_at = datetime.fromisoformat(record["finished_at"]).timestamp()
                before = "before the undo: " if any(mark.started_at > verified_at for mark in undos) else ""
                facts.proof = f"{before}{record['things']['confirmed']:,} of {record['things']['checked']:,} confirmed"
    return facts


def _row(lane: CampaignLane, result: LaneResult, facts: _LaneFacts, *, is_saved: bool) -> TargetRow:
    """`is_saved`: the journal is in a state, and only the commands for the folder can continue it."""
    level = "good" if result.exit in _GOOD else "warning" if result.running or result.exit in _WARNING else "bad"
    state = "running" if result.running else result.state
    if facts.undone:
        level, state = "warning", f"{state}, then undone"
    is_local = not (result.running or is_saved)
    commands = next_commands(facts.summary, result.exit) if facts.summary is not None and is_local else []
    wanted = ("resume", "retry", "verify")
    command = next((line for verb in wanted for line in commands if line.startswith(f"asyncgg {verb} ")), "")
    is_proven = facts.proof and "verify" in command
    return TargetRow(result, lane.account, lane.region, level, state, facts.proof, "" if is_proven else command)


def _verdict(summary: Summary, results: list[LaneResult], undone: int) -> Verdict:
    done = sum(result.exit == 0 for result in results)
    parts = [
        f"{summary.disassociated:,} of {format_count(summary.total, 'thing')} done",
        *format_counts((summary.already, "already before"), (summary.failed, "failed"), (summary.pending, "pending")),
    ]
    sentence = f"{done:,} of {format_count(len(results), 'target')} complete: {', '.join(parts)}"
    sentence += f", the longest run took {format_duration(summary.seconds)}."
    if broken := [result for result in results if result.is_broken]:
        names = ", ".join(result.name for result in broken[:_MAX_NAMED])
        more = f" and {len(broken) - _MAX_NAMED:,} more" if len(broken) > _MAX_NAMED else ""
        sentence += f" Stopped by an error or a guard: {names}{more}."
    level, badge = BADGES[summary.state]
    if undone:
        sentence += f" Later undone: {format_count(undone, 'thing')} restored."
        level, badge = "warning", f"{badge}, then undone"
    return Verdict(level, badge, sanitize(sentence))


def _left_out(campaign: Campaign, summary: Summary) -> list[str]:
    counts = {"bad row": campaign.rejected, "duplicate": summary.duplicates}
    texts = [format_count(count, noun) for noun, count in counts.items() if count]
    return [*texts, *format_counts((summary.protected, "protected"))]


def _chart(lane: CampaignLane, *, draw: bool) -> Chart | None:
    """The requests of a target over time; None if nothing was sent."""
    if not lane.journal.exists():
        return None
    with suppress(JournalError), JournalReader(lane.journal) as reader:
        time, settings = RunningTime(run_starts(reader)), reader.settings()
        if bins := group_by_time(time, reader.requests(), ()):
            quota = float(settings.get("quota") or documented_quota(lane.region))
            series = TimeSeries(bins, time, reader.rate_decisions(), quota, 0, "")
            return request_chart(f"target-{lane.index}", lane.name, series, draw=draw)
    return None
