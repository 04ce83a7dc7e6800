"""Rule: how a night ended, as values and as one JSON object, is said here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asyncgg.cleanup.registry_cache import RegistryStatistics
from asyncgg.cleanup.select import Disposition
from asyncgg.cleanup.state import RunDirectory
from asyncgg.cleanup.tally import DecisionCounts
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError
from asyncgg.inventory import ScanResult
from asyncgg.models import RunState, Summary
from asyncgg.report import summary_to_dict
from asyncgg.runs import exit_code

__all__ = ["SCHEMA", "CanaryResult", "CleanupReport"]

SCHEMA: Final = "asyncgg.cleanup/1"


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What the first things came to."""

    things: int
    still_associated: int
    """Of them, still listed on their core after they had been disassociated."""
    failed: int
    """Failed so far; more than `things` when a core was denied, whose other things fail with them."""

    @property
    def passed(self) -> bool:
        """Whether the rest may go."""
        return not (self.still_associated or self.failed)

    @property
    def failure_reason(self) -> str:
        """Why it did not."""
        if self.failed:
            return f"{self.failed:,} things failed with the canary's {self.things:,}; the others were not sent"
        return (
            f"of the canary's {self.things:,} things {self.still_associated:,} are still listed on their core; the others were not"
            " sent"
        )


@dataclass(slots=True)
class CleanupReport:
    """One night; filled in as it goes."""

    policy: str
    run_dir: RunDirectory | None = None
    """None when it ended before there was one."""
    dry_run: bool = False
    state: RunState = RunState.RUNNING
    """PLANNED after a dry run."""
    exit: int = 1
    reason: str = ""
    scan: ScanResult | None = None
    registry_queries: RegistryStatistics | None = None
    decision_counts: DecisionCounts | None = None
    canary: CanaryResult | None = None
    summary: Summary | None = None
    resumed: CleanupReport | None = None
    """The end of an earlier night's run, which was gone on with first."""
    pruned: list[str] = field(default_factory=list)
    """Old nights that were removed."""
    warnings: list[str] = field(default_factory=list)

    def finish(self, result: RunResult) -> None:
        """It ended as a sweep or a run ends."""
        self.state, self.reason, self.exit = result.state, result.reason, exit_code(result)

    def fail(self, error: AsyncggError) -> None:
        """It was broken off."""
        self.state, self.reason, self.exit = RunState.ABORTED, str(error), error.exit_code

    def downgrade_if_uncertain(self) -> None:
        """What looks complete is not, where a question without an answer kept things that might have to go."""
        undetermined = self.decision_counts.by_disposition[Disposition.UNDETERMINED] if self.decision_counts else 0
        if (
            self.exit == 0
            and not self.dry_run
            and undetermined
            and self.registry_queries
            and self.registry_queries.failed
        ):
            self.state, self.exit = RunState.PARTIAL, 3
            self.reason = f"{self.registry_queries.failed:,} questions to AWS IoT had no answer, {undetermined:,} things are kept in doubt"

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it."""
        run_dir, scan = self.run_dir, self.scan
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "run_id": run_dir.name if run_dir else None,
            "dry_run": self.dry_run,
            "state": self.state.value,
            "exit": self.exit,
            "reason": self.reason,
            "scan": _scan_to_dict(scan) if scan else None,
            "decisions": self.decision_counts.to_dict() if self.decision_counts else None,
            "registry_queries": _queries_to_dict(self.registry_queries) if self.registry_queries else None,
            "canary": {"things": self.canary.things, "still_associated": self.canary.still_associated, "failed": self.canary.failed}
            if self.canary
            else None,
            "run": summary_to_dict(self.summary) if self.summary else None,
            "resumed": self.resumed.to_dict() if self.resumed else None,
            "pruned": self.pruned,
            "warnings": self.warnings,
            "files": _existing_files(run_dir),
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


def _queries_to_dict(queries: RegistryStatistics) -> dict[str, int]:
    return {
        "things": queries.things,
        "missing": queries.missing,
        "sets": queries.sets,
        "failed": queries.failed,
    }


def _existing_files(run_dir: RunDirectory | None) -> dict[str, str]:
    if run_dir is None:
        return {}
    paths: dict[str, Path] = {
        "snapshot": run_dir.snapshot,
        "decisions": run_dir.decisions,
        "journal": run_dir.journal,
        "report": run_dir.report,
    }
    return {name: str(path) for name, path in paths.items() if path.is_file() or name == "report"}
