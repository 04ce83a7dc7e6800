"""The actions of `asyncgg fleet`: plan a campaign, run it, list its lanes."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncgg.cli.context import CommandContext
from asyncgg.cli.fleet_lookup import ThingsSource
from asyncgg.cli.fleet_targets import TargetSettings, load_fleet
from asyncgg.cli.new_campaign import CampaignSource, make_campaign
from asyncgg.cli.supervisor import run_async
from asyncgg.errors import UsageError
from asyncgg.fleet.campaign import Campaign, Shard
from asyncgg.fleet.campaign_state import CampaignState, register_campaign
from asyncgg.fleet.prepare import CampaignRequest, prepare_campaign
from asyncgg.fleet.routing import Router, route_manifest
from asyncgg.manifest import RejectsWriter
from asyncgg.manifest.sources import display_path
from asyncgg.runs import Plan
from asyncgg.runs.prepare import default_stem, s3_opener
from asyncgg.state import lease_seconds


class ManifestSource(CampaignSource):
    """A manifest whose rows are routed to the targets."""

    def __init__(
        self, manifest: str, context: CommandContext, arguments: Mapping[str, Any], targets: TargetSettings
    ) -> None:
        """Raises `UsageError` for options that go with --things, or not together."""
        super().__init__(display_path(manifest), context, arguments)
        self.manifest = manifest
        self.stdin_in_use = manifest == "-"
        self.targets = targets
        if wrong := [name for name in ("inventory", "allow_incomplete") if arguments[name]]:
            raise UsageError(f"--{wrong[0].replace('_', '-')} requires --things")
        if arguments["snapshot"] and context.settings.state is not None:
            raise UsageError("--snapshot does not go with --state: a state of a campaign has journals only")

    @contextmanager
    def prepare(self, folder: Path) -> Iterator[tuple[Campaign, dict[str, Plan]]]:
        """The campaign in `folder`, as `prepare_campaign`."""
        shard, rejects = self.arguments["shard"], self.arguments["rejects"]
        with ExitStack() as stack:
            writer = None
            if rejects is not None:
                writer = stack.enter_context(RejectsWriter(rejects))
            request = CampaignRequest(
                folder=folder,
                source=self.name,
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

    def before_start(self, campaign: Campaign) -> Campaign:
        """Record the campaign in its state, if any; it can be there already, from another shard or an earlier start."""
        if (state := campaign.state) is None:
            return campaign
        lanes = [{"index": lane.index, "name": lane.name, "account": lane.account} for lane in campaign.lanes]
        registered = run_async(register_campaign(state, lanes))
        if registered.id != state.id and not self.context.console.quiet:
            event = {"event": "continue", "state": state.location}
            self.context.console.log_event(event, f"continuing the campaign in {state.location}")
        campaign = replace(campaign, state=registered)
        campaign.save()
        return campaign

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


def run_fleet_action(action: str, manifest: str | None, arguments: Mapping[str, Any]) -> int:
    """Do the action and return the exit code. Raises an `AsyncggError` or KeyboardInterrupt."""
    if bool(manifest) == bool(arguments["things"]):
        raise UsageError("give either MANIFEST or --things; see --help")
    context, targets = load_fleet(arguments)
    folder = arguments["campaign"] or Path(default_stem("asyncgg-campaign"))
    if manifest:
        source: CampaignSource = ManifestSource(manifest, context, arguments, targets)
    else:
        source = ThingsSource(context, arguments, targets)
    return make_campaign(source, folder, plan_only=action == "plan")


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
