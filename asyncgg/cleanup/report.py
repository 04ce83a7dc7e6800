"""The report of a policy run, as values, as JSON and as a notification."""

from __future__ import annotations

import shlex
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from asyncgg.cleanup.policy.model import Policy, SafetyLimits
from asyncgg.cleanup.registry_cache import RegistryStatistics
from asyncgg.cleanup.select import Decision, Disposition
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError
from asyncgg.formatting import format_count
from asyncgg.inventory import ScanResult
from asyncgg.models import RunState, Summary
from asyncgg.notify import (
    Message,
    NotificationEvent,
    NotificationTarget,
    format_text,
    notify,
    parse_target,
    resolve_headers,
)
from asyncgg.report import summary_to_dict
from asyncgg.report.summary import next_commands
from asyncgg.run_directory import RunDirectory
from asyncgg.runs import exit_code
from asyncgg.transport import ConnectionConfig

SCHEMA: Final = "asyncgg.cleanup/1"
_MAX_CORES_LISTED: Final = 3
_GUARD_EXIT: Final = 4


class DecisionCounts:
    """The number of decisions of one run, by disposition, reason and core."""

    def __init__(self) -> None:
        self.by_disposition: Counter[Disposition] = Counter()
        self.reasons: Counter[str] = Counter()
        """Selected things by reason."""
        self._examined_by_core: Counter[str] = Counter()
        self._selected_by_core: Counter[str] = Counter()

    def add(self, decision: Decision) -> None:
        """Count one decision."""
        self.by_disposition[decision.disposition] += 1
        if decision.disposition is not Disposition.OUTSIDE:
            self._examined_by_core[decision.core] += 1
        if decision.selected:
            self.reasons[decision.reason] += 1
            self._selected_by_core[decision.core] += 1

    @property
    def selected(self) -> int:
        """Selected associations."""
        return self.by_disposition[Disposition.SELECTED]

    @property
    def examined(self) -> int:
        """All associations except those on cores outside `[sources]`."""
        return self.by_disposition.total() - self.by_disposition[Disposition.OUTSIDE]

    def limit_violations(self, guards: SafetyLimits) -> Iterator[str]:
        """A message for each limit that is exceeded."""
        selected, examined = self.selected, self.examined
        if guards.max_things is not None and selected > guards.max_things:
            yield f"{format_count(selected, 'thing')} selected, max-things allows {guards.max_things:,}"
        if guards.max_percent is not None and 100 * selected > guards.max_percent * examined:
            yield (
                f"{selected:,} of {format_count(examined, 'thing')} selected ({100 * selected / examined:.1f} %),"
                f" max-percent allows {guards.max_percent:g} %"
            )
        if guards.max_percent_per_core is not None:
            limit = guards.max_percent_per_core
            exceeded = [
                f"{core} ({count:,} of {self._examined_by_core[core]:,})"
                for core, count in sorted(self._selected_by_core.items())
                if 100 * count > limit * self._examined_by_core[core]
            ]
            if exceeded:
                more = len(exceeded) - _MAX_CORES_LISTED
                suffix = f" and {more:,} more" if more > 0 else ""
                listed = ", ".join(exceeded[:_MAX_CORES_LISTED])
                yield f"max-percent-per-core allows {limit:g} % of a core's things; exceeded on {listed}{suffix}"

    def limits_used(self, guards: SafetyLimits) -> list[dict[str, Any]]:
        """What was reached of each limit that is set, in things or percent."""
        shares = {
            core: 100 * count / self._examined_by_core[core] for core, count in sorted(self._selected_by_core.items())
        }
        used = {
            "max-things": (guards.max_things, self.selected),
            "max-percent": (guards.max_percent, 100 * self.selected / max(self.examined, 1)),
            "max-percent-per-core": (guards.max_percent_per_core, max(shares.values(), default=0.0)),
        }
        return [
            {"name": name, "limit": limit, "used": round(value, 2)}
            for name, (limit, value) in used.items()
            if limit is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "examined": self.examined,
            **{disposition.value: self.by_disposition[disposition] for disposition in Disposition},
            "reasons": dict(self.reasons.most_common()),
        }


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """The result of the canary."""

    things: int
    still_associated: int
    """Disassociated things that their cores still list."""
    failed: int
    """Failed things; more than `things` if a core was denied, because all its things fail."""

    @property
    def passed(self) -> bool:
        """Whether the run may continue."""
        return not (self.still_associated or self.failed)

    @property
    def failure_reason(self) -> str:
        """Why the canary did not pass."""
        if self.failed:
            failed = format_count(self.failed, "thing")
            return f"{failed} failed during the canary of {self.things:,}; the rest was not sent"
        return f"{self.still_associated:,} of the {self.things:,} canary things are still listed; the rest was not sent"


@dataclass(slots=True)
class CleanupReport:
    """One run; filled in as the run proceeds."""

    policy: str
    run_dir: RunDirectory | None = None
    """None if the run ended before it had a folder."""
    dry_run: bool = False
    state: RunState = RunState.RUNNING
    """PLANNED after a dry run."""
    exit: int = 1
    reason: str = ""
    scan: ScanResult | None = None
    registry_queries: RegistryStatistics | None = None
    decision_counts: DecisionCounts | None = None
    rules: list[str] = field(default_factory=list)
    """The ids of the policy's rules."""
    limits: list[dict[str, Any]] = field(default_factory=list)
    """As `DecisionCounts.limits_used`."""
    canary: CanaryResult | None = None
    summary: Summary | None = None
    resumed: CleanupReport | None = None
    """The report of an interrupted run that was completed first."""
    pruned: list[str] = field(default_factory=list)
    """Names of old runs that were deleted."""
    warnings: list[str] = field(default_factory=list)
    saved_files: dict[str, str] | None = None
    """Where the files of the run are, by their kind; None: in `run_dir`."""

    def show_saved(self, location: str) -> None:
        """Show the files as those of the state at `location`: the local ones are temporary."""
        for report in (self, self.resumed):
            if report is not None and report.run_dir is not None:
                run, files = report.run_dir, _existing_files(report.run_dir)
                report.saved_files = {kind: f"{location}: {run.name}/{Path(path).name}" for kind, path in files.items()}
                if report.summary is not None:
                    journal = report.saved_files.get("journal", "")
                    report.summary = replace(report.summary, journal=journal, state_location=location)

    @property
    def files(self) -> dict[str, str]:
        """The paths of the files of the run, by their kind."""
        if self.saved_files is not None:
            return self.saved_files
        return _existing_files(self.run_dir) if self.run_dir else {}

    def finish(self, result: RunResult) -> None:
        """Set the end of a scan or run."""
        self.state, self.reason, self.exit = result.state, result.reason, exit_code(result)

    def fail(self, error: AsyncggError) -> None:
        """Set the error that ended the run."""
        self.state, self.reason, self.exit = RunState.ABORTED, str(error), error.exit_code

    def downgrade_if_uncertain(self) -> None:
        """Change a complete run to partial if failed lookups kept things."""
        undetermined = self.decision_counts.by_disposition[Disposition.UNDETERMINED] if self.decision_counts else 0
        failed = self.registry_queries.failed if self.registry_queries else 0
        if self.exit == 0 and not self.dry_run and undetermined and failed:
            self.state, self.exit = RunState.PARTIAL, 3
            kept = format_count(undetermined, "thing")
            self.reason = f"{format_count(failed, 'AWS IoT lookup')} failed; {kept} kept (undetermined)"

    def next_commands(self) -> list[str]:
        """The commands that can help next, as lines of a shell."""
        if self.exit == _GUARD_EXIT and any(limit["used"] > limit["limit"] for limit in self.limits):
            decisions = shlex.quote(self.files.get("decisions", "decisions.csv.gz"))
            return [f"# a limit stopped the run: read {decisions}; raise the limit only if the selection is right"]
        return next_commands(self.summary, self.exit) if self.summary else []

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "run_id": self.run_dir.name if self.run_dir else None,
            "dry_run": self.dry_run,
            "state": self.state.value,
            "exit": self.exit,
            "reason": self.reason,
            "scan": _scan_to_dict(self.scan) if self.scan else None,
            "decisions": self.decision_counts.to_dict() if self.decision_counts else None,
            "rules": self.rules,
            "limits": self.limits,
            "registry_queries": asdict(self.registry_queries) if self.registry_queries else None,
            "canary": asdict(self.canary) if self.canary else None,
            "run": summary_to_dict(self.summary) if self.summary else None,
            "resumed": self.resumed.to_dict() if self.resumed else None,
            "pruned": self.pruned,
            "warnings": self.warnings,
            "next": self.next_commands(),
            "files": self.files,
        }


def _scan_to_dict(scan: ScanResult) -> dict[str, Any]:
    counts = scan.counts
    return {
        "state": scan.state.value,
        "reason": scan.reason,
        "cores": counts.cores,
        "vanished": counts.vanished,
        "denied": counts.denied,
        "failed": counts.failed,
        "associations": counts.associations,
        "failed_share": round(scan.failed_share, 6),
        "requests": {"sent": scan.sent, "minimum": scan.minimum, "throttled": scan.throttled},
        "seconds": round(scan.seconds, 3),
    }


def _existing_files(run_dir: RunDirectory) -> dict[str, str]:
    paths = {
        "snapshot": run_dir.snapshot,
        "decisions": run_dir.decisions,
        "journal": run_dir.journal,
        "report": run_dir.report,
    }
    return {name: str(path) for name, path in paths.items() if path.is_file() or name == "report"}


# --- notification ---


def parse_targets(policy: Policy) -> list[NotificationTarget]:
    """The targets of the policy. Raises `UsageError` if an `env:` variable is not set."""
    config = policy.notify
    headers = resolve_headers(config.webhook_headers)
    webhooks = [parse_target(text, headers) for text in config.webhook]
    return webhooks + [parse_target(text) for text in (*config.sns, *config.apprise)]


async def notify_result(
    policy: Policy, targets: list[NotificationTarget], report: CleanupReport, connection: ConnectionConfig
) -> list[str]:
    """Notify the targets if the policy lists this event; a message for each that failed."""
    event = event_for_code(report.exit)
    if report.dry_run or not targets or event.value not in policy.notify.on:
        return []
    message = Message(event, summary_line(report), report.to_dict(), socket.gethostname(), policy.name)
    return await notify(targets, message, connection=connection)


def event_for_code(code: int) -> NotificationEvent:
    """The event of a run with this exit code."""
    if code in {0, 3, 10}:
        return NotificationEvent.END
    return NotificationEvent.GUARD if code == _GUARD_EXIT else NotificationEvent.FAILURE


def summary_line(report: CleanupReport) -> str:
    """How the run ended, in one line, followed by the end of the resumed run, if any."""
    if report.summary is not None:
        text = format_text(report.summary, reason=report.reason, policy=report.policy)
    else:
        suffix = f": {' '.join(report.reason.split())}" if report.reason else ""
        text = f"asyncgg {report.policy}: {report.state}{suffix}"
    if report.resumed is None or report.resumed.summary is None:
        return text
    return f"{text}; before that, {format_text(report.resumed.summary, policy='resumed run')}"
