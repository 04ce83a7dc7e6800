"""The actions of `asyncgg fleet`: plan a campaign, run it, list its lanes."""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asyncgg.cli.campaign import CampaignWork, check_processes, lanes_of_shard, run_campaign
from asyncgg.cli.console import Console, require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.fleet_targets import load_fleet
from asyncgg.cli.plan_view import plan_to_dict
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import NotStartedError, run_async
from asyncgg.errors import AsyncggError, GuardError, UsageError
from asyncgg.fleet.campaign import Campaign, Shard, plan_waves
from asyncgg.fleet.campaign_state import CampaignState, register_campaign
from asyncgg.fleet.prepare import CampaignRequest, prepare_campaign
from asyncgg.fleet.routing import Router, route_manifest
from asyncgg.fleet.runner import CampaignOptions
from asyncgg.fleet.targets import FleetTarget
from asyncgg.formatting import format_count, format_duration
from asyncgg.manifest import RejectsWriter
from asyncgg.manifest.sources import display_path
from asyncgg.runs import Plan
from asyncgg.runs.prepare import default_stem, s3_opener
from asyncgg.settings import Settings
from asyncgg.state import lease_seconds

PLAN_SCHEMA = "asyncgg.campaign-plan/1"


@dataclass(frozen=True, slots=True)
class FleetAction:
    """One call of the command."""

    manifest: str
    context: CommandContext
    targets: Mapping[str, tuple[FleetTarget, Settings]]
    arguments: Mapping[str, Any]

    @contextmanager
    def prepare(self, folder: Path) -> Iterator[tuple[Campaign, dict[str, Plan]]]:
        """The campaign in `folder`, as `prepare_campaign`."""
        shard, rejects = self.arguments["shard"], self.arguments["rejects"]
        with ExitStack() as stack:
            writer = None
            if rejects is not None:
                writer = stack.enter_context(RejectsWriter(rejects, inputs=[self.manifest]))
            request = CampaignRequest(
                folder=folder,
                source=display_path(self.manifest),
                targets=self.targets,
                shard=Shard.parse(shard) if shard else None,
                skip_bad_rows=self.arguments["skip_bad_rows"],
                max_things=self.arguments["max_things"],
                rejects=writer,
                state=self._make_state(),
            )
            rows = route_manifest(
                self.manifest,
                Router([target for target, _ in self.targets.values()]),
                format=self.arguments["format"],
                stdin=sys.stdin.buffer if self.manifest == "-" else None,
                s3=s3_opener(self.context.settings, None) if self.manifest.startswith("s3://") else None,
            )
            yield stack.enter_context(prepare_campaign(request, rows))

    def _make_state(self) -> CampaignState | None:
        """The state of the settings, if any. Raises `SettingsError` for a lease that is too short."""
        settings = self.context.settings
        if settings.state is None:
            return None
        is_url = settings.state.startswith("s3://")
        timeout = max(settings.request_timeout for _, settings in self.targets.values())
        lease_seconds(settings.state_lease, timeout)
        return CampaignState(
            location=settings.state if is_url else str(Path(settings.state).absolute()),
            id=secrets.token_hex(6),
            digest="",
            request_timeout=timeout,
            interval=settings.state_interval,
            lease=settings.state_lease,
            profile=settings.profile,
            region=settings.region,
        )


def run_fleet_action(action: str, manifest: str, arguments: Mapping[str, Any]) -> int:
    """Do the action and return the exit code. Raises an `AsyncggError` or KeyboardInterrupt."""
    context, targets = load_fleet(arguments)
    call = FleetAction(manifest, context, targets, arguments)
    return _plan(call) if action == "plan" else _disassociate(call)


def show_lanes(arguments: Mapping[str, Any]) -> int:
    """Write the targets with their index."""
    context, pairs = load_fleet(arguments)
    targets = [target for target, _ in pairs.values()]
    lanes = [
        {"index": index, "name": target.name, "account": target.account or None, "region": target.region}
        for index, target in enumerate(targets)
    ]
    lines = [
        f"{index:>4}  {target.name}  {target.account or '-'}  {target.region}" for index, target in enumerate(targets)
    ]
    context.console.write_result({"schema": "asyncgg.lanes/1", "lanes": lanes}, lines)
    return 0


def _plan(call: FleetAction) -> int:
    with raise_on_signal(), tempfile.TemporaryDirectory(prefix="asyncgg-plan-") as folder:
        with call.prepare(Path(folder)) as (campaign, plans):
            document = _plan_to_dict(call, campaign, plans)
            lines = _format_plan(call, campaign, plans)
        call.context.console.write_result(document, lines)
    return 0


def _disassociate(call: FleetAction) -> int:
    arguments, console = call.arguments, call.context.console
    processes = check_processes(arguments)
    folder = arguments["campaign"] or Path(default_stem("asyncgg-campaign"))
    if not arguments["yes"]:
        require_terminal(stdin_in_use=call.manifest == "-")
    try:
        with raise_on_signal(), call.prepare(folder) as (campaign, plans):
            names = [lane.name for lane in campaign.lanes]
            waves = plan_waves(names, arguments["waves"], arguments["canary"])
            if not (console.quiet and arguments["yes"]):
                event = {"event": "plan", **_plan_to_dict(call, campaign, plans)}
                console.log_event(event, *_format_plan(call, campaign, plans))
            total = sum(plan.things for plan in plans.values())
            if total and not arguments["yes"]:
                console.confirm_count(total, "disassociate them", stdin_in_use=call.manifest == "-")
            if campaign.state is not None:
                campaign = _register(campaign, campaign.state, console)
    except (UsageError, GuardError):  # these are raised before the first request only
        raise
    except AsyncggError as error:
        error.add_note("nothing was sent")
        raise
    except KeyboardInterrupt:
        raise NotStartedError("interrupted; nothing was sent") from None
    options = CampaignOptions(waves=waves, abort_targets=arguments["abort_targets"])
    lanes = lanes_of_shard(campaign, arguments["shard"])
    return run_campaign(CampaignWork(campaign, lanes, options, processes, console))


def _register(campaign: Campaign, state: CampaignState, console: Console) -> Campaign:
    """Record the campaign in its state; it can be there already, from another shard or an earlier start."""
    lanes = [{"index": lane.index, "name": lane.name, "account": lane.account} for lane in campaign.lanes]
    registered = run_async(register_campaign(state, lanes))
    if registered.id != state.id and not console.quiet:
        event = {"event": "continue", "state": state.location}
        console.log_event(event, f"continuing the campaign in {state.location}")
    campaign = replace(campaign, state=registered)
    campaign.save()
    return campaign


def _plan_to_dict(call: FleetAction, campaign: Campaign, plans: Mapping[str, Plan]) -> dict[str, Any]:
    keys = ("things", "cores", "requests", "rate", "seconds", "region", "endpoint")
    return {
        "schema": PLAN_SCHEMA,
        "source": display_path(call.manifest),
        "things": sum(plan.things for plan in plans.values()),
        "requests": sum(plan.requests for plan in plans.values()),
        "seconds": round(max((plan.seconds for plan in plans.values()), default=0.0), 3),
        "rejected": campaign.rejected,
        "targets": [
            {"name": name, "account": call.targets[name][0].account or None}
            | {key: value for key, value in plan_to_dict(plan).items() if key in keys}
            for name, plan in plans.items()
        ],
    }


def _format_plan(call: FleetAction, campaign: Campaign, plans: Mapping[str, Plan]) -> list[str]:
    document = _plan_to_dict(call, campaign, plans)
    width = max(map(len, plans), default=0)
    lines = [f"plan: disassociate {format_count(document['things'], 'thing')} in {format_count(len(plans), 'target')}"]
    for name, plan in plans.items():
        target = call.targets[name][0]
        lines.append(
            f"  {name:<{width}}  account {target.account or 'not checked'}, {target.region}:"
            f" {format_count(plan.things, 'thing')}, {format_count(plan.requests, 'request')},"
            f" {format_duration(plan.seconds)} at {plan.rate:g}/s"
        )
    if campaign.rejected:
        lines.append(f"  excluded    {format_count(campaign.rejected, 'bad row')}")
    lines.append(f"  requests    {document['requests']:,}, {format_duration(document['seconds'])} in all, side by side")
    return lines
