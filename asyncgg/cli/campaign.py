"""Runs campaigns: confirmation, progress, signals and worker processes."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from asyncgg.errors import AsyncggError, UsageError
from asyncgg.fleet.campaign import Campaign, CampaignLane, Shard, waves_left
from asyncgg.fleet.campaign_state import upload_journals
from asyncgg.fleet.lane_host import HostOptions
from asyncgg.fleet.local import LocalExecutor
from asyncgg.fleet.process_executor import ProcessExecutor
from asyncgg.fleet.results import LaneResult
from asyncgg.fleet.runner import CampaignRun, LaneExecutor
from asyncgg.formatting import format_count
from asyncgg.models import RunState
from asyncgg.runs import RunMode
from asyncgg.settings import METRICS_SETTINGS, OUTPUT_SETTINGS, build_settings
from asyncgg.telemetry.log_records import ROOT
from asyncgg.telemetry.observers import open_campaign_metrics


def restart_campaign(folder: Path, mode: RunMode, arguments: Mapping[str, Any]) -> int:
    """Continue all runs of the campaign, or those of a shard, and return the exit code."""
    overrides = campaign_overrides(arguments)
    context = campaign_context(arguments)
    console = context.console
    with NotifyOnExit(arguments["notify"], context) as notifier:
        with raise_on_signal():
            campaign = Campaign.load(folder)
            check_lane_options(arguments, has_state=campaign.state is not None)
            campaign = _override_state(campaign, overrides)
            lanes = lanes_of_shard(campaign, arguments["shard"])
            label = "failed" if mode is RunMode.RETRY else "pending"
            results = campaign.results([lane.name for lane in lanes])
            things = {result.name: result.things.get(label, 0) for result in results}
            total = sum(things.values())
            lines = [
                f"  {lane.name}  account {lane.account or 'not checked'}, {things[lane.name]:,} {label}"
                for lane in lanes
            ]
            event = {"event": mode.value, "campaign": str(folder), "things": total}
            if not console.quiet:
                console.log_event(event, f"{mode.value}: {format_count(len(lanes), 'target')} of {folder}", *lines)
            if total and not arguments["yes"]:
                require_terminal(stdin_in_use=False)
                console.confirm_count(total, f"{mode.value} them", stdin_in_use=False)
        waves = waves_left(campaign.waves, things) if campaign.waves else ()
        results = run_campaign(campaign, arguments, console, mode=mode, overrides=overrides, waves=waves)
        notifier.record_campaign(folder, results)
        return write_results(console, campaign, results)


def campaign_context(arguments: Mapping[str, Any]) -> CommandContext:
    """The context of a command for an existing campaign: its other settings are those of the journals."""
    output = {name: value for name, value in extract_settings(arguments).items() if name in OUTPUT_SETTINGS}
    return CommandContext.create(build_settings({}, output), arguments)


def campaign_overrides(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that replace those of all journals. Raises `UsageError` for those of a single run."""
    overrides = extract_settings(arguments)
    if wrong := sorted({"region", "endpoint_url", "state", "expect_account", "profile"} & overrides.keys()):
        raise UsageError(
            f"--{wrong[0].replace('_', '-')} would be the same for all targets; give the journal of one target"
        )
    return overrides


def check_lane_options(arguments: Mapping[str, Any], *, has_state: bool) -> None:
    """Raise `UsageError` for options that do not go together, or need a state."""
    if (dask := arguments.get("dask")) is None:
        return
    if (arguments["processes"] or 1) > 1:
        raise UsageError("--processes does not go with --dask")
    if arguments["shard"]:
        raise UsageError("--dask does not go with --shard")
    if not has_state:
        raise UsageError("--dask needs --state, from which the workers get the journals")
    if not re.fullmatch(r"[a-z]+://\S+:\d+", dask):
        raise UsageError(f"--dask: {dask!r} must be tcp://HOST:PORT or tls://HOST:PORT")
    _load_dask()


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


def run_campaign(
    campaign: Campaign,
    arguments: Mapping[str, Any],
    console: Console,
    *,
    mode: RunMode = RunMode.RESUME,
    overrides: Mapping[str, Any],
    waves: Sequence[Sequence[str]],
) -> list[LaneResult]:
    """Run the lanes of the shard as the arguments of the command say, and return their results.

    The first signal stops them, the second one aborts what is in flight.
    """
    lanes, state = lanes_of_shard(campaign, arguments.get("shard")), campaign.state
    display = CampaignDisplay(console, lanes)
    settings, name = build_settings({}, overrides), campaign.folder.resolve().name
    has_metrics = any(overrides.get(setting) for setting in METRICS_SETTINGS)
    options = HostOptions(mode=mode, overrides=overrides, state=state, has_metrics=has_metrics, log_level=ROOT.level)

    async def work(supervision: Supervision) -> list[LaneResult]:
        if state is not None:
            await upload_journals(state, {lane.name: lane.journal for lane in lanes})
        executor = _make_executor(arguments, options, display, len(lanes))
        run = CampaignRun(
            lanes, executor, waves=waves, abort_targets=arguments.get("abort_targets"), on_result=display.show_result
        )
        async with open_campaign_metrics(settings, name, executor.progress) as display.metrics:
            supervision.stop = lambda reason: run.stop(StopReason(RunState.INTERRUPTED, reason))
            display.watch_lanes(executor.progress)
            return await run.run()

    try:
        results = run_supervised(work, display) if lanes else []
    except StoppedTwiceError:
        return campaign.results([lane.name for lane in lanes])
    return [*_with_saved_counts(campaign, results), *campaign.unprepared]


def _make_executor(
    arguments: Mapping[str, Any], options: HostOptions, display: CampaignDisplay, lanes: int
) -> LaneExecutor:
    if arguments.get("dask"):
        executor: LaneExecutor = _load_dask()(arguments["dask"], options, display.receive)
        return executor
    if (processes := arguments.get("processes") or 1) > 1:
        command = (sys.executable, "-m", "asyncgg.cli.lane_worker")
        return ProcessExecutor(command, min(processes, lanes), options, display.receive)
    return LocalExecutor(
        options.mode,
        options.overrides,
        options.state,
        on_message=display.show_message,
        listeners_for=display.listeners_for,
    )


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
