"""Rule: how a night's journal is sent is decided here: the canary, its verification, then the rest, slowly or not.

It is the same for a run that begins and for one that is gone on with: whatever was verified is in the journal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from asyncgg.cleanup.canary import count_still_associated, is_canary_verified, mark_canary_failed, mark_canary_passed
from asyncgg.cleanup.context import PolicyContext
from asyncgg.cleanup.policy.model import SafetyLimits
from asyncgg.cleanup.reins import StoppedError
from asyncgg.cleanup.report import CanaryResult
from asyncgg.cleanup.state import RunDirectory
from asyncgg.engine import RunResult
from asyncgg.journal import JournalReader
from asyncgg.models import RunState, Summary
from asyncgg.ratelimit import RampPlan

__all__ = ["RolloutResult", "read_summary", "roll_out"]


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What the sending came to."""

    result: RunResult
    summary: Summary
    canary: CanaryResult | None = None


async def roll_out(run_dir: RunDirectory, guards: SafetyLimits, context: PolicyContext) -> RolloutResult:
    """Send what is pending of the night's run. Raises as `asyncgg.runs.execute`, and `GuardError` as `count_still_associated`."""
    canary_size = guards.canary
    initial = read_summary(run_dir)
    canary: CanaryResult | None = None
    if canary_size is not None and initial.total > canary_size and not is_canary_verified(run_dir):
        remaining = canary_size - initial.disassociated - initial.failed
        if remaining > 0:
            result, summary = await context.execute(run_dir.journal, limit=remaining)
            if not result.limit_reached:
                return RolloutResult(result, summary)
        try:
            canary = await _verify_canary(run_dir, canary_size, context)
        except StoppedError as stopped:
            stop = stopped.stop
            return RolloutResult(RunResult(stop.state, stop.message, stop.is_auth_error), read_summary(run_dir))
        if not canary.passed:
            await mark_canary_failed(run_dir, canary.failure_reason)
            return RolloutResult(RunResult(RunState.ABORTED, canary.failure_reason), read_summary(run_dir), canary)
        await mark_canary_passed(run_dir)
    result, summary = await context.execute(run_dir.journal, ramp=_ramp_plan(guards))
    return RolloutResult(result, summary, canary)


def read_summary(run_dir: RunDirectory) -> Summary:
    """The figures of the night's journal. Raises `JournalError`."""
    with JournalReader(run_dir.journal) as reader:
        return reader.summary()


async def _verify_canary(run_dir: RunDirectory, canary_size: int, context: PolicyContext) -> CanaryResult:
    if failed := read_summary(run_dir).failed:
        return CanaryResult(canary_size, 0, failed)
    context.on_stage(f"verifying the canary: are its {canary_size:,} things gone?")
    return CanaryResult(
        canary_size,
        await context.stop_controller.run_cancellable(count_still_associated(run_dir, canary_size, context)),
        0,
    )


def _ramp_plan(guards: SafetyLimits) -> RampPlan | None:
    ramp = guards.ramp
    if ramp is None:
        return None
    return RampPlan(ramp.base_per_minute, ramp.factor, ramp.increase_after, ramp.maximum_per_minute or math.inf)
