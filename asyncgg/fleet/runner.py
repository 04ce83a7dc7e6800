"""Runs the lanes of a campaign side by side, wave by wave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from asyncgg.engine import StopReason
from asyncgg.errors import UsageError
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.group import run_waves
from asyncgg.fleet.results import LaneResult, failed_result, not_started_result
from asyncgg.sharing import sharing


class LaneExecutor(AbstractAsyncContextManager["LaneExecutor"], Protocol):
    """Decides where a lane runs. `CampaignRun` decides when, and what its result means for the others.

    It is entered before the first lane and left after the last one.
    """

    async def run_lane(self, lane: CampaignLane) -> LaneResult:
        """Run the lane to its end. Raises what ended it; cancellation leaves a resumable journal."""

    def stop(self, reason: StopReason) -> None:
        """Send no more requests in any lane, and wait for those in flight. `CampaignRun` starts no more lanes."""

    def progress(self) -> Mapping[str, Progress]:
        """The progress of the lanes that are running, by name."""


class CampaignRun:
    """One start of the lanes of a campaign, where `executor` decides. Each lane ends alone.

    `waves`: names of targets by wave; by default all lanes start at once. Other parameters as
    `run_waves`.
    """

    def __init__(
        self,
        lanes: Sequence[CampaignLane],
        executor: LaneExecutor,
        *,
        waves: Sequence[Sequence[str]] = (),
        abort_targets: float | None = None,
        on_result: Callable[[LaneResult], object] = lambda result: None,
    ) -> None:
        self._lanes = {lane.name: lane for lane in lanes}
        self._waves = [[name for name in wave if name in self._lanes] for wave in waves or [list(self._lanes)]]
        self._executor = executor
        self._abort_targets = abort_targets
        self._on_result = on_result
        self._stop: StopReason | None = None

    def stop(self, reason: StopReason) -> None:
        """Send no more requests in any lane, and wait for those in flight."""
        self._stop = self._stop or reason
        self._executor.stop(self._stop)

    async def run(self) -> list[LaneResult]:
        """Run all lanes to their end; the results are saved. Cancellation leaves resumable journals."""
        with sharing():
            async with self._executor:
                results = await run_waves(
                    self._waves,
                    self._run_and_save,
                    self.stop,
                    abort_targets=self._abort_targets,
                    on_result=self._on_result,
                )
        return [results[name] for name in self._lanes]

    async def _run_and_save(self, name: str) -> LaneResult:
        lane = self._lanes[name]
        try:
            if self._stop is None:
                result = await self._executor.run_lane(lane)
            else:
                result = not_started_result(await asyncio.to_thread(lane.read_result), self._stop)
        except Exception as error:  # noqa: BLE001 - no error of a lane may end the others
            result = failed_result(await asyncio.to_thread(lane.read_result), error)
        with contextlib.suppress(UsageError):  # a full disk: the journal still has the outcomes
            await asyncio.to_thread(lane.save_result, result)
        return result
