"""Runs the lanes of a campaign side by side, wave by wave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncgg.engine import StopReason
from asyncgg.errors import UsageError
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.executor import LaneExecutor
from asyncgg.fleet.local import LocalExecutor
from asyncgg.fleet.results import LaneResult, failed_result
from asyncgg.models import RunState
from asyncgg.runs import RunMode
from asyncgg.sharing import sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOptions:
    """How the lanes are run."""

    mode: RunMode = RunMode.RESUME
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings that replace those of the journals."""
    waves: Sequence[Sequence[str]] | None = None
    """Names of targets by wave; a failed target keeps later waves from starting. None: one wave."""
    abort_targets: float | None = None
    """Percentage of broken targets at which all others stop."""
    on_result: Callable[[LaneResult], object] = lambda result: None
    """Called when a lane has ended."""


class CampaignRun:
    """One start of the lanes of a campaign. Each lane ends alone, whatever another one meets.

    `executor` decides where they run; by default in this event loop.
    """

    def __init__(
        self, lanes: Sequence[CampaignLane], options: CampaignOptions, executor: LaneExecutor | None = None
    ) -> None:
        self._lanes = {lane.name: lane for lane in lanes}
        self._options = options
        self._executor = executor or LocalExecutor(options.mode, options.overrides)
        self._is_stopped = False
        self._results: dict[str, LaneResult] = {}

    def stop(self, reason: StopReason) -> None:
        """Send no more requests in any lane, and wait for those in flight."""
        self._is_stopped = True
        self._executor.stop(reason)

    def progress(self) -> Mapping[str, Progress]:
        """The progress of the lanes that are running, by name."""
        return self._executor.progress()

    async def run(self) -> list[LaneResult]:
        """Run all lanes to their end; the results are saved. Cancellation leaves resumable journals."""
        waves = self._options.waves or [list(self._lanes)]
        with sharing():
            async with self._executor:
                for wave in waves:
                    await self._run_wave(wave, is_last=wave is waves[-1])
        return [self._results[name] for name in self._lanes]

    async def _run_wave(self, names: Sequence[str], *, is_last: bool) -> None:
        lanes = [self._lanes[name] for name in names if name in self._lanes]
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(self._run_and_save(lane), name=f"asyncgg-lane-{lane.name}")
        failed = [lane.name for lane in lanes if self._results[lane.name].exit]
        if failed and not is_last:
            self.stop(StopReason(RunState.ABORTED, f"not started: {', '.join(failed)} failed in a wave before"))

    async def _run_and_save(self, lane: CampaignLane) -> None:
        try:
            result = await self._executor.run_lane(lane)
        except Exception as error:  # noqa: BLE001 - no error of a lane may end the others
            result = failed_result(await asyncio.to_thread(lane.read_result), error)
        self._results[lane.name] = result
        with contextlib.suppress(UsageError):  # a full disk: the journal still has the outcomes
            await asyncio.to_thread(lane.save_result, result)
        self._options.on_result(result)
        self._check_broken()

    def _check_broken(self) -> None:
        limit = self._options.abort_targets
        broken = sum(result.is_broken for result in self._results.values())
        if limit is not None and broken and not self._is_stopped and 100 * broken >= limit * len(self._lanes):
            message = f"{broken} of {len(self._lanes)} targets are broken, --abort-targets {limit:g} stops all"
            self.stop(StopReason(RunState.ABORTED, message))
