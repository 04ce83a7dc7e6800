"""The result of a verification as a value, as JSON and as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.formatting import format_count, format_duration, format_timestamp
from asyncgg.models import Operation, RunState
from asyncgg.report.verification import SCHEMA
from asyncgg.runs.verify_check import CheckCounts, CheckResult

_REMAINING: Final = {Operation.DISASSOCIATE: "still associated", Operation.ASSOCIATE: "missing"}
_REASSOCIATED: Final = "associated again"
"""Instead of "still associated" if the association is newer than the run."""


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """Totals of all scans of a verification."""

    scans: int
    """Number of scans."""
    sent: int
    minimum_requests: int
    throttled: int
    retried: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification."""

    run: str
    journal: Path
    operation: Operation
    state: RunState
    """COMPLETE: every core was listed; PARTIAL: some could not be listed; otherwise stopped."""
    reason: str
    is_auth_error: bool
    """Whether missing credentials or permissions stopped the verification."""
    started_at: float
    """Seconds since 1970. Requests sent after this time are not covered."""
    finished_at: float
    """Seconds since 1970."""
    counts: CheckCounts
    cores: dict[str, int]
    """The cores of the run by state: listed, vanished, denied, failed, waiting."""
    figures: ScanFigures
    snapshots: tuple[Path, ...] = ()
    """The snapshots that were kept."""
    write_errors: tuple[str, ...] = ()
    """Why the record or the list of mismatches could not be written."""
    account: str = ""
    arn: str = ""
    region: str = ""
    endpoint: str = ""
    journal_name: str = ""
    """The journal for people, if not its path: the file of a state is temporary."""

    @property
    def finished(self) -> bool:
        """Whether the verification was not stopped."""
        return self.state in {RunState.COMPLETE, RunState.PARTIAL}

    @property
    def exit_code(self) -> int:
        """0 all confirmed, 3 mismatches, 4 some cores not listed; 5, 10 and 130 as for a run."""
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
        """The label of a mismatch. `reassociated`: associated after the run started."""
        return (
            _REASSOCIATED if reassociated and self.operation is Operation.DISASSOCIATE else _REMAINING[self.operation]
        )


def verification_to_dict(verification: Verification) -> dict[str, Any]:
    """The verification as `asyncgg.verify/1`, the record next to the journal."""
    results = verification.counts.results
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": verification.run,
        "journal": verification.journal_name or str(verification.journal),
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
    """The verification as text lines."""
    results, figures = verification.counts.results, verification.figures
    confirmed, unchecked = results[CheckResult.CONFIRMED], results[CheckResult.UNCHECKED]
    mismatches, done_anyway = results[CheckResult.MISMATCH], results[CheckResult.DONE_ANYWAY]
    things = [f"{confirmed:,} of {confirmed + mismatches + unchecked:,} confirmed"]
    if mismatches:
        again = f" ({count:,} {_REASSOCIATED})" if (count := verification.counts.reassociated) else ""
        things.append(f"{mismatches:,} {_REMAINING[verification.operation]}{again}")
    if unchecked:
        things.append(f"{unchecked:,} not checked")
    lines = [_headline(verification), f"  things     {', '.join(things)}"]
    if not_done := results[CheckResult.NOT_DONE] + done_anyway:
        suffix = f" ({done_anyway:,} already {verification.operation.past_participle})" if done_anyway else ""
        lines.append(f"  unchecked  {format_count(not_done, 'thing')} that the run did not change{suffix}")
    cores = ", ".join(f"{count:,} {state}" for state, count in verification.cores.items() if count)
    scans = f" in {figures.scans} scans" if figures.scans > 1 else ""
    requests = f"{figures.sent:,} sent ({figures.minimum_requests:,} minimum){scans}, {figures.throttled:,} throttled"
    lines += [
        f"  cores      {cores or '0'}",
        f"  requests   {requests}",
        f"  time       {format_duration(figures.seconds)}",
        *(f"  snapshot   {path}" for path in verification.snapshots),
        *(f"  not saved  {error}" for error in verification.write_errors),
    ]
    return lines


def _headline(verification: Verification) -> str:
    results = verification.counts.results
    if not verification.finished:
        reason = f": {verification.reason}" if verification.reason else ""
        return f"verification incomplete ({verification.state}){reason}"
    if not verification.figures.scans:
        return "nothing to verify: the run changed nothing"
    if mismatches := results[CheckResult.MISMATCH]:
        return (
            f"not verified: {mismatches:,} thing{'' if mismatches == 1 else 's'} {_REMAINING[verification.operation]}"
        )
    if results[CheckResult.UNCHECKED]:
        return "partially verified: some cores could not be listed"
    return "verified: the fleet matches the journal"
