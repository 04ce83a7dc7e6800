"""Rule: what a verification came to, as a value, as the JSON object that is the proof, and as lines; pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.manifest.writing import timestamp
from asyncgg.model import Operation, RunState
from asyncgg.report.summary import format_duration
from asyncgg.runs.verifying import Finding, Tally

__all__ = ["SCHEMA", "Figures", "Verification", "verification_lines", "verification_object"]

SCHEMA: Final = "asyncgg.verify/1"

_SO: Final = {Operation.DISASSOCIATE: "gone", Operation.ASSOCIATE: "there"}
_LEFT: Final = {Operation.DISASSOCIATE: "still there", Operation.ASSOCIATE: "missing"}
AGAIN: Final = "there again"
"""Found instead of `still there` when the association is younger than the run."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the looking took, over all looks."""

    looks: int
    """How often cores were listed."""
    sent: int
    minimum: int
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
    credentials: bool
    """Whether credentials or permissions ended it."""
    begun_at: float
    """Seconds since 1970, UTC: what was sent since then may not have been seen."""
    at: float
    """Seconds since 1970, UTC, when it was over."""
    tally: Tally
    cores: dict[str, int]
    """The cores the run touched, by how their listing ended: listed, vanished, denied, failed, waiting."""
    figures: Figures
    snapshots: tuple[Path, ...] = ()
    """The listings that were kept."""
    unkept: tuple[str, ...] = ()
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
        if self.credentials:
            return 5
        if self.state is RunState.DEADLINE:
            return 10
        if self.state is RunState.INTERRUPTED:
            return 130
        if self.tally.findings[Finding.LEFT]:
            return 3
        return 0 if self.state is RunState.COMPLETE and not self.tally.findings[Finding.UNSEEN] else 4

    def found(self, *, again: bool) -> str:
        """How a thing that is left is called; `again`: associated after the run began."""
        return AGAIN if again and self.operation is Operation.DISASSOCIATE else _LEFT[self.operation]


def verification_object(done: Verification) -> dict[str, Any]:
    """The proof as `asyncgg.verify/1`."""
    findings = done.tally.findings
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run": done.run,
        "journal": str(done.journal),
        "operation": done.operation.value,
        "begun": timestamp(done.begun_at),
        "at": timestamp(done.at),
        "account": done.account or None,
        "arn": done.arn or None,
        "region": done.region or None,
        "endpoint": done.endpoint or None,
        "things": {
            "checked": findings[Finding.SO] + findings[Finding.LEFT] + findings[Finding.UNSEEN],
            "so": findings[Finding.SO],
            "left": findings[Finding.LEFT],
            "again": done.tally.again,
            "unseen": findings[Finding.UNSEEN],
        },
        "not_done": {
            "total": findings[Finding.OPEN] + findings[Finding.SO_ANYWAY],
            "so_anyway": findings[Finding.SO_ANYWAY],
        },
        "cores": dict(done.cores),
        "requests": {
            "sent": done.figures.sent,
            "minimum": done.figures.minimum,
            "throttled": done.figures.throttled,
            "retried": done.figures.retried,
        },
        "looks": done.figures.looks,
        "seconds": round(done.figures.seconds, 3),
        "snapshots": [str(path) for path in done.snapshots],
        "finished": done.finished,
        "exit": done.exit_code,
    }
    more = {"reason": done.reason, "unkept": list(done.unkept)}
    return document | {name: value for name, value in more.items() if value}


def verification_lines(done: Verification) -> list[str]:
    """The verification for a person."""
    findings, so = done.tally.findings, _SO[done.operation]
    checked = findings[Finding.SO] + findings[Finding.LEFT] + findings[Finding.UNSEEN]
    things = [f"{findings[Finding.SO]:,} of {checked:,} {so}"]
    if left := findings[Finding.LEFT]:
        again = f" ({done.tally.again:,} of them {AGAIN}: associated since the run began)" if done.tally.again else ""
        things.append(f"{left:,} {_LEFT[done.operation]}{again}")
    if unseen := findings[Finding.UNSEEN]:
        things.append(f"{unseen:,} not seen")
    lines = [_sentence(done), f"  things     {', '.join(things)}"]
    if findings[Finding.OPEN] or findings[Finding.SO_ANYWAY]:
        anyway = f", {findings[Finding.SO_ANYWAY]:,} of them {so} all the same" if findings[Finding.SO_ANYWAY] else ""
        total = findings[Finding.OPEN] + findings[Finding.SO_ANYWAY]
        lines.append(f"  not done   {total:,} that failed or were not sent, not counted{anyway}")
    lines.append(f"  cores      {', '.join(f'{count:,} {word}' for word, count in done.cores.items() if count) or '0'}")
    figures = done.figures
    looks = f" in {figures.looks} looks" if figures.looks > 1 else ""
    lines.append(
        f"  requests   {figures.sent:,} sent ({figures.minimum:,} pages){looks}, {figures.throttled:,} throttled"
    )
    lines.append(f"  time       {format_duration(figures.seconds)}")
    lines += [f"  snapshot   {path}" for path in done.snapshots]
    return lines + [f"  not kept   {why}" for why in done.unkept]


def _sentence(done: Verification) -> str:
    why = f": {done.reason}" if done.reason else ""
    if not done.finished:
        return f"not verified, the looking ended early ({done.state}){why}"
    if not done.figures.looks:
        return "nothing to verify: the run changed nothing"
    if done.tally.findings[Finding.LEFT]:
        return "not as the journal says"
    if done.tally.findings[Finding.UNSEEN]:
        return "not fully verified: some cores could not be listed"
    return f"verified: everything the run {done.operation.past_participle} is {_SO[done.operation]}"
