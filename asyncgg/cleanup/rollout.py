"""How the journal of a policy run is sent: canary, verification of the canary, then the rest."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Final

from asyncgg.cleanup.context import PolicyContext, StoppedError
from asyncgg.cleanup.policy.model import SafetyLimits
from asyncgg.cleanup.report import CanaryResult
from asyncgg.engine import RunResult, StopReason
from asyncgg.errors import GuardError
from asyncgg.formatting import format_count
from asyncgg.inventory import ScanResult, Snapshot
from asyncgg.journal import JournalReader, write_meta
from asyncgg.models import RunState, Summary
from asyncgg.ratelimit import RampPlan
from asyncgg.run_directory import RunDirectory

_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two listings of the canary: AWS does not document when lists show a change."""
_META_KEY: Final = "canary"
_PASSED: Final = "passed"
_STOPPED_STATES: Final = frozenset({RunState.INTERRUPTED, RunState.DEADLINE})


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """How sending ended."""

    result: RunResult
    summary: Summary
    canary: CanaryResult | None = None


async def roll_out(run_dir: RunDirectory, guards: SafetyLimits, context: PolicyContext) -> RolloutResult:
    """Send the pending things of a new or resumed run.

    Raises as `asyncgg.runs.execute`, and `GuardError` if the canary cannot be verified.
    """
    canary_size = guards.canary
    initial = read_summary(run_dir)
    canary: CanaryResult | None = None
    if canary_size is not None and initial.total > canary_size and not _is_canary_verified(run_dir):
        remaining = canary_size - (initial.total - initial.pending)
        if remaining > 0:
            result, summary = await context.execute(run_dir.journal, limit=remaining)
            if not result.limit_reached:
                return RolloutResult(result, summary)
        try:
            canary = await _verify_canary(run_dir, canary_size, context)
        except StoppedError as stopped:
            return RolloutResult(stopped.result, read_summary(run_dir))
        if not canary.passed:
            # The state ABORTED keeps the next start from resuming the run.
            await write_meta(run_dir.journal, state=RunState.ABORTED, reason=canary.failure_reason)
            return RolloutResult(RunResult(RunState.ABORTED, canary.failure_reason), read_summary(run_dir), canary)
        await write_meta(run_dir.journal, **{_META_KEY: _PASSED})
    result, summary = await context.execute(run_dir.journal, ramp=_ramp_plan(guards))
    return RolloutResult(result, summary, canary)


def read_summary(run_dir: RunDirectory) -> Summary:
    """The summary of the run's journal. Raises `JournalError`."""
    with JournalReader(run_dir.journal) as reader:
        return reader.summary()


def _ramp_plan(guards: SafetyLimits) -> RampPlan | None:
    ramp = guards.ramp
    if ramp is None:
        return None
    return RampPlan(ramp.base_per_minute, ramp.factor, ramp.increase_after, ramp.maximum_per_minute or math.inf)


# --- canary ---


async def _verify_canary(run_dir: RunDirectory, canary_size: int, context: PolicyContext) -> CanaryResult:
    if failed := read_summary(run_dir).failed:
        return CanaryResult(canary_size, 0, failed)
    context.on_stage(f"verifying the canary of {format_count(canary_size, 'thing')}")
    count = _count_still_associated(run_dir, canary_size, context)
    return CanaryResult(canary_size, await context.stop_controller.run_cancellable(count), 0)


async def _count_still_associated(run_dir: RunDirectory, canary_size: int, context: PolicyContext) -> int:
    """How many disassociated things of the canary are still listed after the last delay.

    Raises `GuardError` if a core could not be listed, and `StoppedError` if the listing was
    stopped, or is not permitted.
    """
    unverified = _disassociated(run_dir, canary_size)
    for delay in (*_DELAYS, None):
        run_dir.remove(run_dir.canary_snapshot)
        scan = await context.scan(run_dir.canary_snapshot, cores=sorted(unverified), is_top_level=False)
        _require_complete(scan)
        unverified = _remaining(run_dir, unverified)
        if not unverified or delay is None:
            break
        await asyncio.sleep(delay)
    return sum(map(len, unverified.values()))


def _is_canary_verified(run_dir: RunDirectory) -> bool:
    with JournalReader(run_dir.journal) as reader:
        return reader.meta().get(_META_KEY) == _PASSED


def _require_complete(scan: ScanResult) -> None:
    if scan.is_auth_error or scan.state in _STOPPED_STATES:
        raise StoppedError(StopReason(scan.state, f"while verifying the canary: {scan.reason}", scan.is_auth_error))
    if scan.failed_share:
        detail = f": {scan.reason}" if scan.reason else ""
        raise GuardError(f"cannot verify the canary: some of its cores could not be listed{detail}")


def _disassociated(run_dir: RunDirectory, canary_size: int) -> dict[str, set[str]]:
    """The disassociated things of the canary, which is the start of the journal, by core."""
    things: dict[str, set[str]] = {}
    with JournalReader(run_dir.journal) as reader:
        for number, row in enumerate(reader.outcomes()):
            if number >= canary_size:
                break
            if row.state.is_done:
                things.setdefault(row.core, set()).add(row.thing)
    return things


def _remaining(run_dir: RunDirectory, unverified: dict[str, set[str]]) -> dict[str, set[str]]:
    remaining: dict[str, set[str]] = {}
    with Snapshot(run_dir.canary_snapshot) as snapshot:
        for association in snapshot.associations():
            if association.thing in unverified.get(association.core, ()):
                remaining.setdefault(association.core, set()).add(association.thing)
    return remaining
