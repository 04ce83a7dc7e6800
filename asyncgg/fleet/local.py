"""Runs lanes in the event loop of this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.engine import StopReason
from asyncgg.errors import LeaseHeldError, StateWriteError
from asyncgg.events import Listener, Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.campaign_state import RESULT, CampaignState, read_journal_result
from asyncgg.fleet.group import ActiveTargets
from asyncgg.fleet.open_lanes import OpenLanes
from asyncgg.fleet.results import LaneResult, TargetFailedError, failed_result, not_started_result
from asyncgg.journal import JournalReader, parse_operation
from asyncgg.runs import RunMode, execute, exit_code
from asyncgg.runs.connection import resolve_saved_endpoint, restore_settings
from asyncgg.runs.prior_snapshot import awaits_snapshot, make_prior_snapshot
from asyncgg.settings import METRICS_SETTINGS, Settings
from asyncgg.state import StateKeeper, open_client
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.transport import CallerIdentity, Endpoint

_RETRY_INTERVAL: Final = 2.0
"""Seconds before a lane looks again at a lease that another process holds."""
_MAX_OUTAGE: Final = 300.0
"""Seconds for which a store may fail after a lane lost its lease: the same outage can have both effects."""


class LocalExecutor:
    """A `LaneExecutor`: each lane is a task.

    `overrides` are settings that replace those of the journals. With a `state`, a lane takes its
    lease and runs a local copy, below `temporary_folder` or that of the system; `on_message` gets
    the name of a lane and a line for people. `listeners_for` returns listeners for the events of a
    lane.
    """

    def __init__(
        self,
        mode: RunMode,
        overrides: Mapping[str, Any],
        state: CampaignState | None = None,
        *,
        on_message: Callable[[str, str], object] = lambda name, line: None,
        listeners_for: Callable[[TelemetryLabels], Sequence[Listener]] = lambda labels: (),
        temporary_folder: Path | None = None,
    ) -> None:
        self._mode = mode
        self._overrides = overrides
        self._state = state
        self._on_message = on_message
        self._listeners_for = listeners_for
        self._temporary_folder = temporary_folder
        self._active = ActiveTargets()
        self._open_lanes = OpenLanes()
        self._stopping = asyncio.Event()
        self._client: Any = None
        self._exit_stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._state is not None:
            opening = open_client(self._state.location, self._state.connection)
            self._client = await self._exit_stack.enter_async_context(opening)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit_stack.aclose()

    def stop(self, reason: StopReason) -> None:
        """As `LaneExecutor.stop`."""
        self._active.stop(reason)
        self._stopping.set()
        self._open_lanes.release()

    def progress(self) -> Mapping[str, Progress]:
        """As `LaneExecutor.progress`."""
        return {name: found for name, found in self._active.progress().items() if isinstance(found, Progress)}

    async def run_lane(self, lane: CampaignLane) -> LaneResult:
        """As `LaneExecutor.run_lane`."""
        if self._state is None:
            with self._open_lanes.add(lane.name):
                return await self._run_journal(lane.name, lane.journal, lane.read_result, None)
        outage = 0.0
        while True:
            result, lost_reason = await self._run_saved(lane, self._state, outage)
            outage = _MAX_OUTAGE
            if not lost_reason or self._stopping.is_set():
                return result
            # For example, this process was stopped for a while. Others may have continued the lane.
            self._on_message(lane.name, f"{lost_reason}; continuing from what is saved")

    # --- with a state ---

    async def _run_saved(self, lane: CampaignLane, state: CampaignState, outage: float) -> tuple[LaneResult, str]:
        """The result of the lane, and why its lease was lost. `outage` as `_enter_keeper`."""
        nothing_read = LaneResult.without_journal(lane.name, lane.journal)
        async with AsyncExitStack() as stack:
            keeper = await self._enter_keeper(lane.name, state, stack, outage)
            if keeper is None:
                assert self._active.stop_reason is not None
                return not_started_result(nothing_read, self._active.stop_reason), ""
            run = keeper.latest()
            if run is None or not run.has_journal:
                return nothing_read, ""
            result_path, journal = run.folder / RESULT, run.journal

            def read_result() -> LaneResult:
                return read_journal_result(lane.name, journal)

            try:
                with self._open_lanes.add(lane.name):
                    result = await self._run_journal(lane.name, journal, read_result, keeper)
            except Exception as error:  # noqa: BLE001 - whatever ended the lane is its saved result
                result = failed_result(await asyncio.to_thread(read_result), error)
            result = replace(result, journal=f"{keeper.location}: {run.name}/{journal.name}")
            await asyncio.to_thread(result_path.write_text, json.dumps(result.to_dict()), encoding="utf-8")
        return result, keeper.lost_reason

    async def _enter_keeper(
        self, name: str, state: CampaignState, stack: AsyncExitStack, outage: float
    ) -> StateKeeper | None:
        """Wait for the lease, also while another process renews it; None if the campaign stops meanwhile.

        The store may fail for `outage` seconds.
        """
        give_up_at = asyncio.get_running_loop().time() + outage
        stopping = asyncio.ensure_future(self._stopping.wait())
        stack.callback(stopping.cancel)
        is_reported = False

        def show_message(line: str) -> None:
            self._on_message(name, line)

        while not self._stopping.is_set():
            keeper = state.keeper(name, self._client, self._temporary_folder)
            if not is_reported:
                keeper.on_message = show_message
            entering = asyncio.ensure_future(stack.enter_async_context(keeper))
            try:
                await asyncio.wait((entering, stopping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not entering.done():
                    entering.cancel()
                    await asyncio.wait((entering,))
            if entering.cancelled():
                return None
            try:
                await entering
                keeper.on_message = show_message
                return keeper
            except LeaseHeldError as error:
                if not is_reported:
                    show_message(f"waiting for the process that runs it: {error}")
                is_reported = True
            except StateWriteError:
                if asyncio.get_running_loop().time() >= give_up_at:
                    raise
            await asyncio.wait((stopping,), timeout=_RETRY_INTERVAL)
        return None

    # --- with or without ---

    async def _run_journal(
        self, name: str, journal: Path, read_result: Callable[[], LaneResult], lease: StateKeeper | None
    ) -> LaneResult:
        settings, endpoint, meta, things = await asyncio.to_thread(self._prepare, journal)
        if not things:
            return (await asyncio.to_thread(read_result)).with_nothing_left()
        if lease is not None:
            lease.require_longer_lease(settings.request_timeout)
        if not self._stopping.is_set():
            expected = meta.get("account", "")
            identity = await self._active.accounts.verify(name, endpoint, settings, expected_from_journal=expected)
        if (stop := self._active.stop_reason) is not None:
            return not_started_result(await asyncio.to_thread(read_result), stop)
        if awaits_snapshot(meta):
            await self._open_lanes.wait_for_others(name)
            scan = await make_prior_snapshot(
                journal, settings, endpoint, identity, on_scan=lambda scan: self._active.attach(name, scan)
            )
            if scan is not None:
                raise TargetFailedError(f"listing the cores: {scan.reason}", exit_code(scan))
        try:
            result, summary = await execute(
                journal,
                settings,
                mode=self._mode,
                region=endpoint.region,
                account=identity,
                listeners=self._listeners_for(_labels(name, journal, meta, endpoint, identity)),
                on_engine=lambda engine: self._active.attach(name, engine),
                # A lane that waited for its lease does not wait for others that still do.
                before_sending=None if lease else lambda: self._open_lanes.wait_for_others(name),
                lease=lease,
                commit_interval=self._open_lanes.commit_interval,
            )
        finally:
            self._active.detach(name)
        return LaneResult.from_summary(name, summary, exit_code(result), result.reason)

    def _prepare(self, journal: Path) -> tuple[Settings, Endpoint, Mapping[str, str], int]:
        overrides = self._overrides
        with JournalReader(journal) as reader:
            meta, saved = reader.meta(), reader.settings()
            things, _ = reader.remaining(failed=self._mode is RunMode.RETRY)
        settings = restore_settings(saved, meta, {k: v for k, v in overrides.items() if k not in METRICS_SETTINGS})
        return settings, resolve_saved_endpoint(settings, meta, overrides), meta, things


def _labels(
    name: str, journal: Path, meta: Mapping[str, str], endpoint: Endpoint, identity: CallerIdentity | None
) -> TelemetryLabels:
    operation = parse_operation(meta.get("operation", ""), journal).value
    account = identity.account if identity else meta.get("account", "")
    return TelemetryLabels(operation, account, endpoint.region, meta.get("policy_name", ""), name)
