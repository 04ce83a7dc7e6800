"""Runs lanes in the event loop of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.engine import Engine, StopReason
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.results import LaneResult, not_started_result
from asyncgg.journal import JournalReader
from asyncgg.report import EXIT_CODES
from asyncgg.runs import RunMode, execute, exit_code, verify_account
from asyncgg.runs.connection import resolve_saved_endpoint, restore_settings
from asyncgg.settings import OUTPUT_SETTINGS, Settings
from asyncgg.transport import Endpoint

_MAX_OPENING: Final = 16
"""Lanes whose credentials are loaded and checked at once, out of consideration for STS."""


class LocalExecutor:
    """A `LaneExecutor`: each lane is a task. `overrides` are settings that replace those of the journals."""

    def __init__(self, mode: RunMode, overrides: Mapping[str, Any]) -> None:
        self._mode = mode
        self._overrides = overrides
        self._engines: dict[str, Engine] = {}
        self._opening = asyncio.Semaphore(_MAX_OPENING)
        self._stop: StopReason | None = None

    def stop(self, reason: StopReason) -> None:
        """As `LaneExecutor.stop`."""
        self._stop = self._stop or reason
        for engine in self._engines.values():
            engine.stop(reason)

    def progress(self) -> Mapping[str, Progress]:
        """As `LaneExecutor.progress`."""
        return {name: engine.progress() for name, engine in self._engines.items()}

    async def run_lane(self, lane: CampaignLane) -> LaneResult:
        """As `LaneExecutor.run_lane`."""
        try:
            return await self._run_lane(lane)
        finally:
            self._engines.pop(lane.name, None)

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
            mode=self._mode,
            region=endpoint.region,
            account=identity,
            on_engine=lambda engine: self._add_engine(lane.name, engine),
        )
        return LaneResult.from_summary(lane.name, summary, exit_code(result), result.reason)

    def _prepare(self, lane: CampaignLane) -> tuple[Settings, Endpoint, str, int]:
        overrides = self._overrides
        with JournalReader(lane.journal) as reader:
            meta, saved = reader.meta(), reader.settings()
            things, _ = reader.remaining(failed=self._mode is RunMode.RETRY)
        settings = restore_settings(saved, meta, {k: v for k, v in overrides.items() if k not in OUTPUT_SETTINGS})
        return settings, resolve_saved_endpoint(settings, meta, overrides), meta.get("account", ""), things

    def _add_engine(self, name: str, engine: Engine) -> None:
        self._engines[name] = engine
        if self._stop is not None:
            engine.stop(self._stop)
