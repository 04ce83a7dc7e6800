"""The results of lanes and of a whole campaign: exit codes, JSON and text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError
from asyncgg.formatting import format_count, format_counts
from asyncgg.models import RunState, Summary
from asyncgg.report import EXIT_CODES, summary_to_dict
from asyncgg.report.summary import format_commands, next_commands

SCHEMA: Final = "asyncgg.campaign/1"
_CODE_ORDER: Final = (1, 5, 4, 2, 130, 10, 3)
"""The first of these that a lane has is the exit code of the campaign."""
BROKEN_CODES: Final = frozenset({1, 2, 4, 5})
_STATES: Final[Mapping[int, RunState]] = {
    0: RunState.COMPLETE,
    3: RunState.PARTIAL,
    10: RunState.DEADLINE,
    130: RunState.INTERRUPTED,
}


class TargetFailedError(AsyncggError):
    """The work in a target failed before its journal could be built."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class LaneResult:
    """How the part of a campaign in one target ended, or how it stands."""

    name: str
    state: str
    exit: int
    journal: str
    reason: str = ""
    things: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    failures: Mapping[str, int] = field(default_factory=dict)
    running: bool = False

    @classmethod
    def from_summary(cls, name: str, summary: Summary, code: int | None, reason: str, *, running: bool = False) -> Self:
        """From the summary of its run; without a `code` that of the state."""
        return cls.from_document(name, summary_to_dict(summary, reason=reason), code, running=running)

    @classmethod
    def from_document(
        cls, name: str, document: Mapping[str, Any], code: int | None = None, *, running: bool = False
    ) -> Self:
        """From a summary as `summary_to_dict`. Raises KeyError and ValueError."""
        return cls(
            name,
            document["state"],
            EXIT_CODES[RunState(document["state"])] if code is None else code,
            document["journal"],
            "" if running else document.get("reason", ""),
            document["things"],
            document["requests"],
            document["seconds"],
            document["failures"],
            running,
        )

    @classmethod
    def without_journal(cls, name: str, journal: Path) -> Self:
        """A lane whose journal is not here: that of another shard, or one not prepared."""
        return cls(name, RunState.PLANNED.value, 130, str(journal), "no journal: not prepared here")

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """As `to_dict` wrote it. Raises KeyError and TypeError."""
        return cls(**document)

    def to_dict(self) -> dict[str, Any]:
        """As an item of `targets` in `asyncgg.campaign/1`."""
        return asdict(self)

    def or_saved(self, saved: Self) -> Self:
        """The result of the last start, unless something was sent or recorded after it."""
        is_current = not self.running and (self.things, self.requests) == (saved.things, saved.requests)
        return saved if is_current else self

    def with_nothing_left(self) -> Self:
        """The result of a lane that had nothing to send."""
        if self.things.get("pending"):
            return self
        state = RunState.PARTIAL if self.things.get("failed") else RunState.COMPLETE
        return replace(self, state=state.value, exit=EXIT_CODES[state], reason="")

    @property
    def is_broken(self) -> bool:
        """Whether an error or a guard ended it."""
        return self.exit in BROKEN_CODES


def failed_result(current: LaneResult, error: BaseException) -> LaneResult:
    """The result of a lane that `error` ended; `current` is what its journal has."""
    code, reason = describe_error(error)
    return replace(current, state=RunState.ABORTED.value, exit=code, reason=reason)


def describe_error(error: BaseException) -> tuple[int, str]:
    """The exit code of a target that `error` ended, and the reason as one line."""
    if isinstance(error, AsyncggError):
        return error.exit_code, " ".join(str(error).split())
    return 1, " ".join(f"{type(error).__name__}: {error}; internal error".split())


def not_started_result(current: LaneResult, stop: StopReason) -> LaneResult:
    """The result of a lane that was not started because the campaign stopped."""
    state = current.state if current.requests.get("sent", 0) else RunState.PLANNED.value
    return replace(current, state=state, exit=EXIT_CODES[stop.state], reason=stop.message)


def campaign_exit_code(results: Iterable[LaneResult]) -> int:
    """0 if every lane has 0, else the first of 1, 5, 4, 2, 130, 10 and 3 that a lane has."""
    return first_exit_code(result.exit for result in results)


def first_exit_code(codes: Iterable[int]) -> int:
    """0 if all codes are 0, else the first of 1, 5, 4, 2, 130, 10 and 3 among them."""
    present = set(codes)
    return next((code for code in _CODE_ORDER if code in present), 0)


def campaign_state(results: Sequence[LaneResult]) -> RunState:
    """The state of the campaign."""
    if any(result.running for result in results):
        return RunState.RUNNING
    return state_of_code(campaign_exit_code(results))


def state_of_code(code: int) -> RunState:
    """The state of a campaign that ends with this exit code."""
    return _STATES.get(code, RunState.ABORTED)


def campaign_summary(folder: Path, results: Sequence[LaneResult]) -> Summary:
    """The counts of all targets as those of one run, whose journal is the folder."""
    things, requests = _sum(results, "things"), _sum(results, "requests")
    return Summary(
        run="",
        journal=str(folder),
        state=campaign_state(results),
        total=things.get("total", 0),
        disassociated=things.get("disassociated", 0) + things.get("associated", 0),
        failed=things.get("failed", 0),
        pending=things.get("pending", 0),
        already=things.get("already", 0),
        protected=things.get("protected", 0),
        duplicates=things.get("duplicates", 0),
        sent=requests.get("sent", 0),
        minimum=requests.get("minimum", 0),
        throttled=requests.get("throttled", 0),
        retried=requests.get("retried", 0),
        seconds=max((result.seconds for result in results), default=0.0),
        failures=dict(Counter(_sum(results, "failures")).most_common()),
    )


def campaign_to_dict(folder: Path, results: Sequence[LaneResult], rejected: int = 0) -> dict[str, Any]:
    """The campaign as `asyncgg.campaign/1`."""
    things, requests, failures = _sum(results, "things"), _sum(results, "requests"), _sum(results, "failures")
    return {
        "schema": SCHEMA,
        "campaign": str(folder),
        "state": campaign_state(results).value,
        "exit": campaign_exit_code(results),
        "things": things | {"rejected": things.get("rejected", 0) + rejected},
        "requests": requests,
        "seconds": max((result.seconds for result in results), default=0.0),
        "failures": failures,
        "targets": [result.to_dict() for result in results],
        "next": next_commands(campaign_summary(folder, results), campaign_exit_code(results)),
    }


def _sum(results: Iterable[LaneResult], attribute: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for result in results:
        for name, value in getattr(result, attribute).items():
            total[name] = total.get(name, 0) + value
    return total


def format_campaign(folder: Path, results: Sequence[LaneResult], rejected: int = 0) -> list[str]:
    """The campaign as text, with one line for each target."""
    document = campaign_to_dict(folder, results, rejected)
    requests = document["requests"]
    done, width = sum(result.exit == 0 for result in results), max((len(result.name) for result in results), default=0)
    return [
        f"{document['state']}: {done:,} of {format_count(len(results), 'target')} complete",
        f"  things     {_format_things(document['things'])}",
        f"  requests   {requests.get('sent', 0):,} sent, {requests.get('throttled', 0):,} throttled",
        *(f"  excluded   {format_count(rejected, 'bad row')}" for _ in range(bool(rejected))),
        *(f"  {result.name:<{width}}  {_format_lane(result)}" for result in results),
        *format_commands(document["next"]),
    ]


def _format_things(things: Mapping[str, int]) -> str:
    changed = things.get("disassociated", 0) + things.get("associated", 0)
    others = format_counts(*((things.get(name, 0), name) for name in ("already", "failed", "pending")))
    return ", ".join([f"{changed:,} of {things.get('total', 0):,} done", *others])


def _format_lane(result: LaneResult) -> str:
    reason = f": {result.reason}" if result.reason else ""
    state = "running" if result.running else result.state
    return f"{state} (exit {result.exit}), {_format_things(result.things)}{reason}"
