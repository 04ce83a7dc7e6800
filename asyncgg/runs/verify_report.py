"""Rule: what a verification came to, as a value, as the JSON object that is the proof, and as lines; pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.formatting import format_duration, format_timestamp
from asyncgg.models import Operation, RunState
from asyncgg.runs.verify_check import CheckCounts, CheckResult

__all__ = ["SCHEMA", "ScanFigures", "Verification", "format_verification", "verification_to_dict"]

SCHEMA: Final = "asyncgg.verify/1"

_AS_EXPECTED: Final = {Operation.DISASSOCIATE: "gone", Operation.ASSOCIATE: "there"}
_REMAINING: Final = {Operation.DISASSOCIATE: "still there", Operation.ASSOCIATE: "missing"}
REASSOCIATED: Final = "there again"
"""Found instead of `still there` when the association is younger than the run."""


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """What the looking took, over all looks."""

    scans: int
    """How often cores were listed."""
    sent: int
    minimum_requests: int
    throttled: int
    retried: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification came to."""

    run: str
    journal: Path
    operation: Operation
    state: RunState
    """How the looking ended. COMPLETE: every core was seen; PARTIAL: some could not be; otherwise it was stopped."""
    reason: str
    is_auth_error: bool
    """Whether credentials or permissions ended it."""
    started_at: float
    """Seconds since 1970, UTC: what was sent since then may not have been seen."""
    finished_at: float
    """Seconds since 1970, UTC, when it was over."""
    counts: CheckCounts
    cores: dict[str, int]
    """The cores the run touched, by how their listing ended: listed, vanished, denied, failed, waiting."""
    figures: ScanFigures
    snapshots: tuple[Path, ...] = ()
    """The listings that were kept."""
    write_errors: tuple[str, ...] = ()
    """What could not be written, the proof or the list of what is left, and why."""
    account: str = ""
    arn: str = ""
    region: str = ""
    endpoint: str = ""

    @property
    def finished(self) -> bool:
        """Whether every core was looked at, as far as it can be."""
        return self.state in {RunState.COMPLETE, RunState.PARTIAL}

    @property
    def exit_code(self) -> int:
        """0 all is as the journal says, 3 some is not, 4 some could not be seen; 5, 10 and 130 as for a run."""
        if self.is_auth_error:
            return 5
        if self.state is RunState.DEADLINE:
            return 10
        if self.state is RunState.INTERRUPTED:
            return 130
        if self.counts.results[CheckResult.MISMATCH]:
            return 3
        return 0 if self.state is RunState.COMPLETE and not self.counts.results[CheckResult.UNCHECKED] else 4

    def mismatch_label(self, *, reassociated: bool) -> str:
        """How a thing that is left is called; `again`: associated after the run began."""
        return REASSOCIATED if reassociated and self.operation is Operation.DISASSOCIATE else _REMAINING[self.operation]


def verification_to_dict(verification: Verification) -> dict[str, Any]:
    """The proof as `asyncgg.verify/1`."""
    results = verification.counts.results
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": verification.run,
        "journal": str(verification.journal),
        "operation": verification.operation.value,
        "started_at": format_timestamp(verification.started_at),
        "finished_at": format_timestamp(verification.finished_at),
        "account": verification.account or None,
        "arn": verification.arn or None,
        "region": verification.region or None,
        "endpoint": verification.endpoint or None,
        "things": {
            "checked": results[CheckResult.CONFIRMED] + results[CheckResult.MISMATCH] + results[CheckResult.UNCHECKED],
            "confirmed": results[CheckResult.CONFIRMED],
            "still_associated": results[CheckResult.MISMATCH],
            "reassociated": verification.counts.reassociated,
            "unchecked": results[CheckResult.UNCHECKED],
        },
        "not_done": {
            "total": results[CheckResult.NOT_DONE] + results[CheckResult.DONE_ANYWAY],
            "done_anyway": results[CheckResult.DONE_ANYWAY],
        },
        "cores": dict(verification.cores),
        "requests": {
            "sent": verification.figures.sent,
            "minimum": verification.figures.minimum_requests,
            "throttled": verification.figures.throttled,
            "retried": verification.figures.retried,
        },
        "scans": verification.figures.scans,
        "seconds": round(verification.figures.seconds, 3),
        "snapshots": [str(path) for path in verification.snapshots],
        "finished": verification.finished,
        "exit": verification.exit_code,
    }
    optional = {"reason": verification.reason, "write_errors": list(verification.write_errors)}
    return document | {name: value for name, value in optional.items() if value}


def format_verification(verification: Verification) -> list[str]:
    """The verification for a person."""
    results, expected_label = verification.counts.results, _AS_EXPECTED[verification.operation]
    checked = results[CheckResult.CONFIRMED] + results[CheckResult.MISMATCH] + results[CheckResult.UNCHECKED]
    things = [f"{results[CheckResult.CONFIRMED]:,} of {checked:,} {expected_label}"]
    if mismatches := results[CheckResult.MISMATCH]:
        reassociated = (
            f" ({verification.counts.reassociated:,} of them {REASSOCIATED}: associated since the run began)"
            if verification.counts.reassociated
            else ""
        )
        things.append(f"{mismatches:,} {_REMAINING[verification.operation]}{reassociated}")
    if unchecked := results[CheckResult.UNCHECKED]:
        things.append(f"{unchecked:,} not seen")
    lines = [_headline(verification), f"  things     {', '.join(things)}"]
    if results[CheckResult.NOT_DONE] or results[CheckResult.DONE_ANYWAY]:
        done_anyway = (
            f", {results[CheckResult.DONE_ANYWAY]:,} of them {expected_label} all the same"
            if results[CheckResult.DONE_ANYWAY]
            else ""
        )
        total = results[CheckResult.NOT_DONE] + results[CheckResult.DONE_ANYWAY]
        lines.append(f"  not done   {total:,} that failed or were not sent, not counted{done_anyway}")
    lines.append(
        f"  cores      {', '.join(f'{count:,} {state}' for state, count in verification.cores.items() if count) or '0'}"
    )
    figures = verification.figures
    scans = f" in {figures.scans} looks" if figures.scans > 1 else ""
    lines.append(
        f"  requests   {figures.sent:,} sent ({figures.minimum_requests:,} pages){scans}, {figures.throttled:,} throttled"
    )
    lines.append(f"  time       {format_duration(figures.seconds)}")
    lines += [f"  snapshot   {path}" for path in verification.snapshots]
    return lines + [f"  not kept   {error}" for error in verification.write_errors]


def _headline(verification: Verification) -> str:
    reason = f": {verification.reason}" if verification.reason else ""
    if not verification.finished:
        return f"not verified, the looking ended early ({verification.state}){reason}"
    if not verification.figures.scans:
        return "nothing to verify: the run changed nothing"
    if verification.counts.results[CheckResult.MISMATCH]:
        return "not as the journal says"
    if verification.counts.results[CheckResult.UNCHECKED]:
        return "not fully verified: some cores could not be listed"
    return f"verified: everything the run {verification.operation.past_participle} is {_AS_EXPECTED[verification.operation]}"
