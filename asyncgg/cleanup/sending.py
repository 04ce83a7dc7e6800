"""Rule: how a night's journal is sent is decided here: the canary, its verification, then the rest, slowly or not.

It is the same for a run that begins and for one that is gone on with: whatever was verified is in the journal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from asyncgg.cleanup.canary import has_passed, note_failed, note_passed, still_listed
from asyncgg.cleanup.means import Means
from asyncgg.cleanup.nights import Night
from asyncgg.cleanup.outcome import Canary
from asyncgg.cleanup.policy import Guards
from asyncgg.cleanup.reins import StoppedError
from asyncgg.engine import RunResult
from asyncgg.journal import JournalReader
from asyncgg.model import RunState, Summary
from asyncgg.ratelimit import RampPlan

__all__ = ["Sent", "send", "summary_of"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What the sending came to."""

    result: RunResult
    summary: Summary
    canary: Canary | None = None


async def send(night: Night, guards: Guards, means: Means) -> Sent:
    """Send what is pending of the night's run. Raises as `asyncgg.runs.execute`, and `GuardError` as `still_listed`."""
    first = guards.canary
    before = summary_of(night)
    canary: Canary | None = None
    if first is not None and before.total > first and not has_passed(night):
        left = first - before.disassociated - before.failed
        if left > 0:
            result, summary = await means.execute(night.journal, first=left)
            if not result.limit_reached:
                return Sent(result, summary)
        try:
            canary = await _verified(night, first, means)
        except StoppedError as stopped:
            stop = stopped.stop
            return Sent(RunResult(stop.state, stop.message, stop.is_auth_error), summary_of(night))
        if not canary.passed:
            await note_failed(night, canary.words)
            return Sent(RunResult(RunState.ABORTED, canary.words), summary_of(night), canary)
        await note_passed(night)
    result, summary = await means.execute(night.journal, ramp=_ramp(guards))
    return Sent(result, summary, canary)


def summary_of(night: Night) -> Summary:
    """The figures of the night's journal. Raises `JournalError`."""
    with JournalReader(night.journal) as reader:
        return reader.summary()


async def _verified(night: Night, first: int, means: Means) -> Canary:
    if failed := summary_of(night).failed:
        return Canary(first, 0, failed)
    means.on_step(f"verifying the canary: are its {first:,} things gone?")
    return Canary(first, await means.reins.within(still_listed(night, first, means)), 0)


def _ramp(guards: Guards) -> RampPlan | None:
    ramp = guards.ramp
    if ramp is None:
        return None
    return RampPlan(ramp.base_per_minute, ramp.factor, ramp.increase_after, ramp.maximum_per_minute or math.inf)
