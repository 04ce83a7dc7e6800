"""Shows the plan of a new campaign, has it confirmed, and runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.campaign import CampaignWork, OnResults, check_processes, lanes_of_shard, run_campaign
from asyncgg.cli.console import Console, require_terminal
from asyncgg.cli.plan_view import plan_to_dict
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import NotStartedError
from asyncgg.errors import AsyncggError, GuardError, UsageError
from asyncgg.fleet.campaign import Campaign, plan_waves
from asyncgg.fleet.runner import CampaignOptions
from asyncgg.formatting import format_count, format_duration
from asyncgg.models import Operation
from asyncgg.runs import Plan

PLAN_SCHEMA: Final = "asyncgg.campaign-plan/1"

PreparedCampaign = AbstractContextManager[tuple[Campaign, dict[str, Plan]]]
"""A campaign with the plans of its new journals, which an exception in the block removes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSource:
    """What a campaign is made from."""

    name: str
    prepare: Callable[[Path], PreparedCampaign]
    """Makes the campaign in a folder."""
    stdin_in_use: bool = False
    has_state: bool = False
    """Whether the journals are kept in a state."""
    on_prepared: Callable[[Campaign], Campaign] = lambda campaign: campaign
    """Called after the confirmation, before the first request; returns the campaign to run."""
    notes: Callable[[], list[str]] = list
    """Further lines of the plan."""


def show_campaign_plan(prepared: PreparedCampaign, source: CampaignSource, console: Console) -> None:
    """Write the plan as the result of the command."""
    with prepared as (campaign, plans):
        document, lines = _plan_to_dict(source.name, campaign, plans), _format_plan(source, campaign, plans)
    console.write_result(document, lines)


def run_new_campaign(
    source: CampaignSource,
    folder: Path,
    arguments: Mapping[str, Any],
    console: Console,
    *,
    output: Mapping[str, Any] | None = None,
    on_results: OnResults = lambda folder, results: None,
) -> int:
    """Prepare the campaign in `folder`, ask for confirmation, run it and return the exit code.

    `output`: the `OUTPUT_SETTINGS` of its runs. `on_results` gets the results at the end.
    Raises an `AsyncggError` or KeyboardInterrupt if nothing was sent.
    """
    processes = check_processes(arguments, has_state=source.has_state)
    if not arguments["yes"]:
        require_terminal(stdin_in_use=source.stdin_in_use)
    try:
        with raise_on_signal(), source.prepare(folder) as (campaign, plans):
            names = [lane.name for lane in campaign.lanes]
            waves = plan_waves(names, arguments.get("waves"), arguments.get("canary"))
            if not (console.quiet and arguments["yes"]):
                event = {"event": "plan", **_plan_to_dict(source.name, campaign, plans)}
                console.log_event(event, *_format_plan(source, campaign, plans))
            kept = [lane for lane in campaign.lanes if lane.name not in plans]
            total = sum(plan.things for plan in plans.values())
            total += sum(lane.read_result().things.get("pending", 0) for lane in kept)
            if total and not arguments["yes"]:
                console.confirm_count(total, f"{_operation(plans)} them", stdin_in_use=source.stdin_in_use)
            campaign = source.on_prepared(campaign)
            if len(waves) > 1:
                campaign = replace(campaign, waves=tuple(map(tuple, waves)))
                campaign.save()
    except (UsageError, GuardError):  # these are raised before the first request only
        raise
    except AsyncggError as error:
        error.add_note("nothing was sent")
        raise
    except NotStartedError:  # it says how to continue
        raise
    except KeyboardInterrupt:
        raise NotStartedError("interrupted; nothing was sent") from None
    options = CampaignOptions(overrides=output or {}, waves=waves, abort_targets=arguments.get("abort_targets"))
    lanes = lanes_of_shard(campaign, arguments.get("shard"))
    return run_campaign(CampaignWork(campaign, lanes, options, processes, console, arguments.get("dask"), on_results))


def _operation(plans: Mapping[str, Plan]) -> str:
    """What the new journals do; those of an undo can differ."""
    operations = {plan.operation for plan in plans.values()} or {Operation.DISASSOCIATE}
    return " or ".join(sorted(operation.value for operation in operations))


def _plan_to_dict(source: str, campaign: Campaign, plans: Mapping[str, Plan]) -> dict[str, Any]:
    keys = ("operation", "things", "cores", "requests", "rate", "seconds", "region", "endpoint", "undoable")
    accounts = {lane.name: lane.account or None for lane in campaign.lanes}
    return {
        "schema": PLAN_SCHEMA,
        "source": source,
        "things": sum(plan.things for plan in plans.values()),
        "requests": sum(plan.requests for plan in plans.values()),
        "seconds": round(max((plan.seconds for plan in plans.values()), default=0.0), 3),
        "rejected": campaign.rejected,
        "targets": [
            {"name": name, "account": accounts[name]}
            | {key: value for key, value in plan_to_dict(plan).items() if key in keys}
            for name, plan in plans.items()
        ],
        "failed": [
            {"name": result.name, "exit": result.exit, "reason": result.reason} for result in campaign.unprepared
        ],
    }


def _format_plan(source: CampaignSource, campaign: Campaign, plans: Mapping[str, Plan]) -> list[str]:
    document = _plan_to_dict(source.name, campaign, plans)
    things, targets = format_count(document["things"], "thing"), format_count(len(plans), "target")
    lines = [f"plan: {_operation(plans)} {things} in {targets}"]
    width = max((len(lane.name) for lane in campaign.lanes), default=0)
    for lane in campaign.lanes:
        if (plan := plans.get(lane.name)) is None:
            lines.append(f"  {lane.name:<{width}}  has a journal, which is continued")
            continue
        lines.append(
            f"  {lane.name:<{width}}  account {lane.account or 'not checked'}, {lane.region}:"
            f" {format_count(plan.things, 'thing')}, {format_count(plan.requests, 'request')},"
            f" {format_duration(plan.seconds)} at {plan.rate:g}/s"
        )
    lines += [
        f"  {result.name:<{width}}  left out (exit {result.exit}): {result.reason}" for result in campaign.unprepared
    ]
    if campaign.rejected:
        lines.append(f"  excluded    {format_count(campaign.rejected, 'bad row')}")
    lines += source.notes()
    lines.append(f"  requests    {document['requests']:,}, {format_duration(document['seconds'])} in all, side by side")
    return lines
