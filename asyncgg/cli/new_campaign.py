"""Shows the plan of a new campaign, has it confirmed, and runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from asyncgg.cli.campaign import check_lane_options, run_campaign
from asyncgg.cli.campaign_view import write_results
from asyncgg.cli.console import require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.notify import NotifyOnExit
from asyncgg.cli.plan_view import plan_to_dict
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import noting_nothing_sent
from asyncgg.fleet.campaign import Campaign, plan_waves
from asyncgg.formatting import format_count, format_duration
from asyncgg.models import Operation
from asyncgg.runs import Plan
from asyncgg.settings import OUTPUT_SETTINGS

PLAN_SCHEMA: Final = "asyncgg.campaign-plan/1"

PreparedCampaign = AbstractContextManager[tuple[Campaign, dict[str, Plan]]]
"""A campaign with the plans of its new journals, which an exception in the block removes."""


class CampaignSource(ABC):
    """What a campaign is made from, given by the arguments of a command."""

    stdin_in_use = False
    """Whether standard input holds data, so that /dev/tty is needed for the confirmation."""

    def __init__(self, name: str, context: CommandContext, arguments: Mapping[str, Any]) -> None:
        """`name`: the source in messages."""
        self.name = name
        self.context = context
        self.arguments = arguments

    @abstractmethod
    def prepare(self, folder: Path) -> PreparedCampaign:
        """Make the campaign in a folder."""

    def before_start(self, campaign: Campaign) -> Campaign:
        """Called after the confirmation, before the first request; returns the campaign to run."""
        return campaign

    def notes(self) -> list[str]:
        """Further lines of the plan."""
        return []


def make_campaign(source: CampaignSource, folder: Path, *, plan_only: bool) -> int:
    """Prepare the campaign in `folder`, ask for confirmation, run it and return the exit code.

    With `plan_only` its plan is the result, and nothing is kept. Raises an `AsyncggError` or
    KeyboardInterrupt if nothing was sent.
    """
    context = source.context
    if plan_only:
        with (
            raise_on_signal(),
            TemporaryDirectory(prefix="asyncgg-plan-") as temporary,
            source.prepare(Path(temporary)) as (campaign, plans),
        ):
            document, lines = _plan_to_dict(source.name, campaign, plans), _format_plan(source, campaign, plans)
        context.console.write_result(document, lines)
        return 0
    with NotifyOnExit(source.arguments.get("notify") or (), context) as notifier:
        check_lane_options(source.arguments, has_state=context.settings.state is not None)
        campaign = _prepare_and_confirm(source, folder)
        overrides = context.settings.model_dump(exclude_unset=True, include=set(OUTPUT_SETTINGS))
        results = run_campaign(campaign, source.arguments, context.console, overrides=overrides, waves=campaign.waves)
        notifier.record_campaign(folder, results)
        return write_results(context.console, campaign, results)


def _prepare_and_confirm(source: CampaignSource, folder: Path) -> Campaign:
    arguments, console = source.arguments, source.context.console
    if not arguments["yes"]:
        require_terminal(stdin_in_use=source.stdin_in_use)
    with noting_nothing_sent(), raise_on_signal(), source.prepare(folder) as (campaign, plans):
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
        campaign = source.before_start(campaign)
        if len(waves) > 1:
            campaign = replace(campaign, waves=tuple(map(tuple, waves)))
            campaign.save()
    return campaign


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
