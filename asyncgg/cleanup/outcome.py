"""Rule: how a night ended, as values and as one JSON object, is said here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asyncgg.cleanup.nights import Night
from asyncgg.cleanup.questions import QuestionStatistics
from asyncgg.cleanup.select import Verdict
from asyncgg.cleanup.tally import Tally
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError
from asyncgg.inventory import ScanResult
from asyncgg.model import RunState, Summary
from asyncgg.report import summary_to_dict
from asyncgg.runs import exit_code

__all__ = ["SCHEMA", "Canary", "NightReport"]

SCHEMA: Final = "asyncgg.cleanup/1"


@dataclass(frozen=True, slots=True)
class Canary:
    """What the first things came to."""

    things: int
    left: int
    """Of them, still listed on their core after they had been disassociated."""
    failed: int
    """Failed so far; more than `things` when a core was denied, whose other things fail with them."""

    @property
    def passed(self) -> bool:
        """Whether the rest may go."""
        return not (self.left or self.failed)

    @property
    def words(self) -> str:
        """Why it did not."""
        if self.failed:
            return f"{self.failed:,} things failed with the canary's {self.things:,}; the others were not sent"
        return (
            f"of the canary's {self.things:,} things {self.left:,} are still listed on their core; the others were not"
            " sent"
        )


@dataclass(slots=True)
class NightReport:
    """One night; filled in as it goes."""

    policy: str
    night: Night | None = None
    """None when it ended before there was one."""
    dry_run: bool = False
    state: RunState = RunState.RUNNING
    """PLANNED after a dry run."""
    exit: int = 1
    reason: str = ""
    swept: ScanResult | None = None
    asked: QuestionStatistics | None = None
    tally: Tally | None = None
    canary: Canary | None = None
    summary: Summary | None = None
    resumed: NightReport | None = None
    """The end of an earlier night's run, which was gone on with first."""
    removed: list[str] = field(default_factory=list)
    """Old nights that were removed."""
    warnings: list[str] = field(default_factory=list)

    def end(self, result: RunResult) -> None:
        """It ended as a sweep or a run ends."""
        self.state, self.reason, self.exit = result.state, result.reason, exit_code(result)

    def fail(self, error: AsyncggError) -> None:
        """It was broken off."""
        self.state, self.reason, self.exit = RunState.ABORTED, str(error), error.exit_code

    def admit_doubt(self) -> None:
        """What looks complete is not, where a question without an answer kept things that might have to go."""
        doubtful = self.tally.verdicts[Verdict.DOUBTFUL] if self.tally else 0
        if self.exit == 0 and not self.dry_run and doubtful and self.asked and self.asked.unanswered:
            self.state, self.exit = RunState.PARTIAL, 3
            self.reason = (
                f"{self.asked.unanswered:,} questions to AWS IoT had no answer, {doubtful:,} things are kept in doubt"
            )

    def document(self) -> dict[str, Any]:
        """As JSON says it."""
        night, swept = self.night, self.swept
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "night": night.name if night else None,
            "dry_run": self.dry_run,
            "state": self.state.value,
            "exit": self.exit,
            "reason": self.reason,
            "sweep": _sweep(swept) if swept else None,
            "decisions": self.tally.document() if self.tally else None,
            "questions": _questions(self.asked) if self.asked else None,
            "canary": {"things": self.canary.things, "left": self.canary.left, "failed": self.canary.failed}
            if self.canary
            else None,
            "run": summary_to_dict(self.summary) if self.summary else None,
            "resumed": self.resumed.document() if self.resumed else None,
            "removed": self.removed,
            "warnings": self.warnings,
            "files": _files(night),
        }


def _sweep(swept: ScanResult) -> dict[str, Any]:
    counts = swept.counts
    return {
        "state": swept.state.value,
        "reason": swept.reason,
        "cores": counts.cores,
        "vanished": counts.vanished,
        "denied": counts.denied,
        "failed": counts.failed,
        "associations": counts.associations,
        "failed_share": round(swept.failed_share, 6),
        "requests": {"sent": swept.sent, "minimum": swept.minimum, "throttled": swept.throttled},
        "seconds": round(swept.seconds, 3),
    }


def _questions(asked: QuestionStatistics) -> dict[str, int]:
    return {
        "things": asked.things,
        "missing": asked.missing,
        "sets": asked.sets,
        "unanswered": asked.unanswered,
    }


def _files(night: Night | None) -> dict[str, str]:
    if night is None:
        return {}
    names: dict[str, Path] = {
        "snapshot": night.snapshot,
        "decisions": night.decisions,
        "journal": night.journal,
        "report": night.report,
    }
    return {name: str(path) for name, path in names.items() if path.is_file() or name == "report"}
