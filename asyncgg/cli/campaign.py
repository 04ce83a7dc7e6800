"""Runs campaigns: confirmation, progress, signals and worker processes."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asyncgg.cli.campaign_display import CampaignDisplay
from asyncgg.cli.campaign_view import write_results
from asyncgg.cli.console import Console, require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.notify import NotifyOnExit
from asyncgg.cli.options import extract_settings
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import StoppedTwiceError, Supervision, run_supervised
from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError, JournalError, UsageError
from asyncgg.fleet.campaign import Campaign, CampaignLane, Shard, waves_left
from asyncgg.fleet.campaign_state import upload_journals
from asyncgg.fleet.executor import LaneExecutor
from asyncgg.fleet.lane_host import HostOptions
from asyncgg.fleet.local import LocalExecutor
from asyncgg.fleet.process_executor import ProcessExecutor
from asyncgg.fleet.results import LaneResult
from asyncgg.fleet.runner import CampaignOptions, CampaignRun
from asyncgg.formatting import format_count
from asyncgg.journal import JournalReader
from asyncgg.models import RunState
from asyncgg.runs import RunMode
from asyncgg.settings import OUTPUT_SETTINGS, Settings, build_settings
from asyncgg.telemetry.log_records import ROOT
from asyncgg.telemetry.observers import open_campaign_metrics

OnResults = Callable[[Path, Sequence[LaneResult]], object]
"""Gets folder and results of a campaign at its end."""


@dataclass(frozen=True, slots=True)
class CampaignWork:
    """The lanes to run, and how."""

    campaign: Campaign
    lanes: Sequence[CampaignLane]
    options: CampaignOptions
    processes: int
    console: Console
    dask: str | None = None
    """The address of a Dask scheduler, on whose workers the lanes run."""
    on_results: OnResults = lambda folder, results: None


def restart_campaign(folder: Path, mode: RunMode, arguments: Mapping[str, Any]) -> int:
    """Continue all runs of the campaign, or those of a shard, and return the exit code."""
    overrides = campaign_overrides({**arguments, "notify": ()})
    context = CommandContext.create(build_settings({}, _only_output(overrides)), arguments)
    with NotifyOnExit(arguments["notify"], context) as notifier:
        return _restart(folder, mode, arguments, overrides, context, notifier)


def _only_output(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if name in OUTPUT_SETTINGS}


def _restart(
    folder: Path,
    mode: RunMode,
    arguments: Mapping[str, Any],
    overrides: dict[str, Any],
    context: CommandContext,
    notifier: NotifyOnExit,
) -> int:
    with raise_on_signal():
        campaign = Campaign.load(folder)
        processes = check_processes(arguments, has_state=campaign.state is not None)
        lanes = lanes_of_shard(campaign, arguments["shard"])
        campaign = _override_state(campaign, overrides)
        things = _count_remaining(campaign, lanes, mode)
        waves = waves_left(campaign.waves, things) if campaign.waves else None
        total = sum(things.values())
        label = "failed" if mode is RunMode.RETRY else "pending"
        lines = [
            f"  {lane.name}  account {lane.account or 'not checked'}, {things[lane.name]:,} {label}" for lane in lanes
        ]
        event = {"event": mode.value, "campaign": str(folder), "things": total}
        if not context.console.quiet:
            context.console.log_event(event, f"{mode.value}: {format_count(len(lanes), 'target')} of {folder}", *lines)
        if total and not arguments["yes"]:
            require_terminal(stdin_in_use=False)
            context.console.confirm_count(total, f"{mode.value} them", stdin_in_use=False)
    options = CampaignOptions(mode=mode, overrides=overrides, waves=waves, abort_targets=arguments["abort_targets"])
    work = CampaignWork(
        campaign, lanes, options, processes, context.console, arguments["dask"], notifier.record_campaign
    )
    return run_campaign(work)


def campaign_overrides(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that replace those of all journals. Raises `UsageError` for those of a single run."""
    if arguments.get("notify"):
        raise UsageError("--notify is not available for a campaign; notify from its exit code or its JSON object")
    overrides = extract_settings(arguments)
    if wrong := sorted({"region", "endpoint_url", "state", "expect_account", "profile"} & overrides.keys()):
        raise UsageError(
            f"--{wrong[0].replace('_', '-')} would be the same for all targets; give the journal of one target"
        )
    return overrides


def check_processes(arguments: Mapping[str, Any], *, has_state: bool) -> int:
    """The number of processes. Raises `UsageError` for options that do not go together, or need a state."""
    processes: int = arguments.get("processes") or 1
    if processes > 1 and arguments.get("dask"):
        raise UsageError("--processes does not go with --dask")
    if arguments.get("dask"):
        if arguments["shard"]:
            raise UsageError("--dask does not go with --shard")
        if not has_state:
            raise UsageError("--dask needs --state, from which the workers get the journals")
        if not re.fullmatch(r"[a-z]+://\S+:\d+", arguments["dask"]):
            raise UsageError(f"--dask: {arguments['dask']!r} must be tcp://HOST:PORT or tls://HOST:PORT")
        _load_dask()
    return processes


def _load_dask() -> Any:
    """The class of the executor. Raises `UsageError` if distributed is not installed."""
    try:
        from asyncgg.fleet.dask_executor import DaskExecutor
    except ImportError:
        raise UsageError("--dask requires distributed: pip install 'asyncgg[dask]'") from None
    return DaskExecutor


def lanes_of_shard(campaign: Campaign, shard: str | None) -> list[CampaignLane]:
    """The lanes to run. Raises `UsageError` for an invalid shard."""
    part = Shard.parse(shard) if shard else Shard(0, 1)
    return [lane for lane in campaign.lanes if part.owns(lane.index)]


def _override_state(campaign: Campaign, overrides: Mapping[str, Any]) -> Campaign:
    """The campaign with the times of the command line for its state, which has them for one start only."""
    if campaign.state is None:
        return campaign
    settings = build_settings({}, overrides)
    changes: dict[str, Any] = {
        "interval": settings.state_interval if "state_interval" in overrides else campaign.state.interval,
        "lease": settings.state_lease or campaign.state.lease,
        "request_timeout": max(campaign.state.request_timeout, settings.request_timeout)
        if "request_timeout" in overrides
        else campaign.state.request_timeout,
    }
    return replace(campaign, state=replace(campaign.state, **changes))


def _count_remaining(campaign: Campaign, lanes: Sequence[CampaignLane], mode: RunMode) -> dict[str, int]:
    """Things to send by lane."""
    if campaign.state is None:
        return {lane.name: _remaining(lane, mode) for lane in lanes}
    key = "failed" if mode is RunMode.RETRY else "pending"
    results = campaign.results([lane.name for lane in lanes])
    return {result.name: result.things.get(key, 0) for result in results}


def _remaining(lane: CampaignLane, mode: RunMode) -> int:
    if not lane.journal.exists():
        return 0
    try:
        with JournalReader(lane.journal) as reader:
            return reader.remaining(failed=mode is RunMode.RETRY)[0]
    except JournalError:  # the result of the lane names it
        return 0


def run_campaign(work: CampaignWork) -> int:
    """Run the lanes, write the campaign's result, and return the exit code."""
    results: list[LaneResult] = []
    if work.lanes:
        with contextlib.suppress(StoppedTwiceError):  # the journals have the results
            results = _run_lanes(work)
    campaign = Campaign.load(work.campaign.folder)
    if not results or campaign.state is None:  # what is saved in a state does not say why a lane could not be saved
        results = campaign.results([lane.name for lane in work.lanes])
    else:
        results = _with_saved_counts(campaign, results)
    work.on_results(campaign.folder, results)
    return write_results(work.console, campaign, results)


def _with_saved_counts(campaign: Campaign, results: Sequence[LaneResult]) -> list[LaneResult]:
    """The results, with what is saved of lanes whose journals were out of reach when they ended."""
    missing = [result.name for result in results if not result.things]
    saved: dict[str, LaneResult] = {}
    with contextlib.suppress(AsyncggError):  # the results say what is wrong
        saved = {result.name: result for result in campaign.results(missing)} if missing else {}
    return [
        replace(saved[result.name], state=result.state, exit=result.exit, reason=result.reason, running=False)
        if result.name in saved
        else result
        for result in results
    ]


def _run_lanes(work: CampaignWork) -> list[LaneResult]:
    """Run all lanes; the first signal stops them, the second one aborts what is in flight."""
    state, options = work.campaign.state, work.options
    display = CampaignDisplay(work.console, work.lanes)
    settings, name = build_settings({}, options.overrides), work.campaign.folder.resolve().name

    async def run(supervision: Supervision) -> list[LaneResult]:
        if state is not None:
            await upload_journals(state, {lane.name: lane.journal for lane in work.lanes})
        executor = _make_executor(work, display, settings)
        run = CampaignRun(work.lanes, options, executor, display.show_result)
        async with open_campaign_metrics(settings, name, executor.progress) as display.metrics:
            supervision.stop = lambda reason: run.stop(StopReason(RunState.INTERRUPTED, reason))
            display.watch_lanes(executor.progress)
            return await run.run()

    return run_supervised(run, display)


def _make_executor(work: CampaignWork, display: CampaignDisplay, settings: Settings) -> LaneExecutor:
    mode, overrides, state = work.options.mode, work.options.overrides, work.campaign.state
    if not work.dask and work.processes == 1:
        return LocalExecutor(
            mode, overrides, state, on_message=display.show_message, listeners_for=display.listeners_for
        )
    has_metrics = bool(settings.metrics_file or settings.metrics_push or settings.metrics_port)
    options = HostOptions(mode=mode, overrides=overrides, state=state, has_metrics=has_metrics, log_level=ROOT.level)
    if work.dask:
        executor: LaneExecutor = _load_dask()(work.dask, options, display.receive)
        return executor
    command = (sys.executable, "-m", "asyncgg.cli.lane_worker")
    return ProcessExecutor(command, min(work.processes, len(work.lanes)), options, display.receive)
