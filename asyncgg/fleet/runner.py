"""Runs the lanes of a campaign side by side in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asyncgg.engine import Engine, StopReason
from asyncgg.errors import UsageError
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.results import LaneResult, failed_result, not_started_result
from asyncgg.journal import JournalReader
from asyncgg.models import RunState
from asyncgg.report import EXIT_CODES
from asyncgg.runs import RunMode, execute, exit_code, verify_account
from asyncgg.runs.connection import resolve_saved_endpoint, restore_settings
from asyncgg.settings import OUTPUT_SETTINGS, Settings
from asyncgg.sharing import sharing
from asyncgg.transport import Endpoint

_MAX_OPENING: Final = 16
"""Lanes whose credentials are loaded and checked at once, out of consideration for STS."""


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
    """One start of the lanes of a campaign. Each lane ends alone, whatever another one meets."""

    def __init__(self, lanes: Sequence[CampaignLane], options: CampaignOptions) -> None:
        self._lanes = {lane.name: lane for lane in lanes}
        self._options = options
        self._engines: dict[str, Engine] = {}
        self._opening = asyncio.Semaphore(_MAX_OPENING)
        self._stop: StopReason | None = None
        self._results: dict[str, LaneResult] = {}

    def stop(self, reason: StopReason) -> None:
        """Send no more requests in any lane, and wait for those in flight."""
        self._stop = self._stop or reason
        for engine in self._engines.values():
            engine.stop(reason)

    def progress(self) -> list[Progress]:
        """The progress of the lanes that have started."""
        return [engine.progress() for engine in self._engines.values()]

    async def run(self) -> list[LaneResult]:
        """Run all lanes to their end; the results are saved. Cancellation leaves resumable journals."""
        waves = self._options.waves or [list(self._lanes)]
        with sharing():
            for wave in waves:
                lanes = [self._lanes[name] for name in wave if name in self._lanes]
                async with asyncio.TaskGroup() as group:
                    for lane in lanes:
                        group.create_task(self._run_and_save(lane), name=f"asyncgg-lane-{lane.name}")
                failed = [lane.name for lane in lanes if self._results[lane.name].exit]
                if failed and wave is not waves[-1]:
                    self.stop(StopReason(RunState.ABORTED, f"not started: {', '.join(failed)} failed in a wave before"))
        return [self._results[name] for name in self._lanes]

    async def _run_and_save(self, lane: CampaignLane) -> None:
        try:
            result = await self._run_lane(lane)
        except Exception as error:  # noqa: BLE001 - no error of a lane may end the others
            result = failed_result(await asyncio.to_thread(lane.read_result), error)
        self._engines.pop(lane.name, None)
        self._results[lane.name] = result
        with contextlib.suppress(UsageError):  # a full disk: the journal still has the outcomes
            await asyncio.to_thread(lane.save_result, result)
        self._options.on_result(result)
        self._check_broken()

    def _check_broken(self) -> None:
        limit = self._options.abort_targets
        broken = sum(result.is_broken for result in self._results.values())
        if limit is not None and broken and self._stop is None and 100 * broken >= limit * len(self._lanes):
            message = f"{broken} of {len(self._lanes)} targets are broken, --abort-targets {limit:g} stops all"
            self.stop(StopReason(RunState.ABORTED, message))

    async def _run_lane(self, lane: CampaignLane) -> LaneResult:
        if self._stop is None:
            settings, endpoint, account, things = await asyncio.to_thread(self._prepare, lane)
            if not things:
                return (await asyncio.to_thread(lane.read_result)).with_nothing_left()
        if self._stop is None:
            async with self._opening:
                identity, _ = await verify_account(endpoint, settings, expected_from_journal=account)
        if self._stop is not None:
            code = EXIT_CODES[self._stop.state]
            return not_started_result(await asyncio.to_thread(lane.read_result), self._stop.message, code)
        result, summary = await execute(
            lane.journal,
            settings,
            mode=self._options.mode,
            region=endpoint.region,
            account=identity,
            on_engine=lambda engine: self._add_engine(lane.name, engine),
        )
        return LaneResult.from_summary(lane.name, summary, exit_code(result), result.reason)

    def _prepare(self, lane: CampaignLane) -> tuple[Settings, Endpoint, str, int]:
        overrides = self._options.overrides
        with JournalReader(lane.journal) as reader:
            meta, saved = reader.meta(), reader.settings()
            things, _ = reader.remaining(failed=self._options.mode is RunMode.RETRY)
        settings = restore_settings(saved, meta, {k: v for k, v in overrides.items() if k not in OUTPUT_SETTINGS})
        return settings, resolve_saved_endpoint(settings, meta, overrides), meta.get("account", ""), things

    def _add_engine(self, name: str, engine: Engine) -> None:
        self._engines[name] = engine
        if self._stop is not None:
            engine.stop(self._stop)
