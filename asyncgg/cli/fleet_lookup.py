"""`asyncgg fleet disassociate --things`: a scan of each target, then a journal where things are found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.cli.fleet_targets import TargetSettings, run_group
from asyncgg.cli.new_campaign import CampaignSource
from asyncgg.cli.sources import LookupArguments
from asyncgg.cli.supervisor import NotStartedError
from asyncgg.errors import ManifestError, UsageError
from asyncgg.fleet.campaign import Campaign, CampaignLane
from asyncgg.fleet.folder import new_folder
from asyncgg.fleet.group import TargetResult
from asyncgg.fleet.lane_journals import prepare_lanes, require_same_source
from asyncgg.fleet.prepare import journal_path
from asyncgg.fleet.results import TargetFailedError
from asyncgg.fleet.scan import LISTED, FleetScanner, TargetScan, find_in_snapshot
from asyncgg.formatting import format_count
from asyncgg.journal import JournalReader
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.connection import connection_from_settings
from asyncgg.runs.lookup import prepare_from_snapshot
from asyncgg.runs.plan import MissingNames
from asyncgg.transport import resolve_endpoint

_EXIT_INTERRUPTED: Final = 130
_MAX_EXAMPLES: Final = 10


class ThingsSource(CampaignSource):
    """A list of things that is looked up in all targets."""

    def __init__(self, context: CommandContext, arguments: Mapping[str, Any], targets: TargetSettings) -> None:
        """Raises `UsageError` for options that go with a manifest."""
        super().__init__(LookupArguments(things=arguments["things"]).source, context, arguments)
        self.stdin_in_use = arguments["things"] == "-"
        self.targets = targets
        self.missing: list[str] = []
        """Things that no target has."""
        for name in ("shard", "format", "rejects", "skip_bad_rows", "snapshot"):
            if arguments[name]:
                raise UsageError(f"--{name.replace('_', '-')} requires a manifest")
        if context.settings.state is not None:
            raise UsageError(
                "--state requires a manifest: a list of things is looked up into the folder of the campaign"
            )

    @contextmanager
    def prepare(self, folder: Path) -> Iterator[tuple[Campaign, dict[str, Plan]]]:
        """Scan the targets, and make the campaign in `folder`, as `prepare_lanes`.

        Raises `NotStartedError` if the scans were stopped.
        """
        inventory: Path = self.arguments["inventory"] or folder
        request = LookupArguments(
            things=self.arguments["things"],
            max_age=self.arguments["max_age"],
            allow_incomplete=self.arguments["allow_incomplete"],
        ).build_request(inventory)
        things = request.targets
        if not things.names:
            raise ManifestError(f"{things.source}: the list is empty; nothing was sent")
        digest = hashlib.sha256("\n".join(["things", *sorted(things.names)]).encode()).hexdigest()
        require_same_source(folder, digest)
        lanes = [
            CampaignLane(index, name, target.account, target.region, journal_path(folder, name))
            for index, (name, (target, _)) in enumerate(self.targets.items())
        ]
        with new_folder(inventory):
            scans = self._scan([lane.name for lane in lanes if not lane.journal.exists()], inventory)
        found: set[str] = set()

        def build(lane: CampaignLane) -> tuple[JournalBuilder, Plan] | None:
            scan = scans[lane.name]
            if scan.value is None or scan.exit not in LISTED:
                raise TargetFailedError(scan.reason or scan.state, scan.exit)
            settings = self.targets[lane.name][1]
            builder, plan = prepare_from_snapshot(
                replace(request, inventory=scan.value.path),
                lane.journal,
                settings,
                resolve_endpoint(connection_from_settings(settings)),
                just_scanned=scan.value.scan is not None,
                account=lane.account,
            )
            found.update(record.thing for record in find_in_snapshot(scan.value.path, things.names).records)
            if plan.things:
                return builder, plan
            builder.discard()
            return None

        limit = self.arguments["max_things"]
        with prepare_lanes(folder, lanes, build, source=things.source, digest=digest, max_things=limit) as prepared:
            campaign, plans = prepared
            for lane in campaign.lanes:
                if lane.name not in plans:  # its journal was there already
                    with JournalReader(lane.journal) as reader:
                        found.update(row.thing for row in reader.outcomes())
            self.missing = [name for name in things.names if name not in found]
            yield campaign, plans

    def _scan(self, names: list[str], inventory: Path) -> Mapping[str, TargetResult[TargetScan]]:
        targets, console = {name: self.targets[name] for name in names}, self.context.console
        settings = {name: settings for name, (_, settings) in targets.items()}
        scanner = FleetScanner(inventory, settings, max_age=self.arguments["max_age"], check_account=True)
        if names and not console.quiet:
            text = f"listing the client devices of {format_count(len(names), 'target')} into {inventory}"
            console.log_event({"event": "scan-started", "targets": len(names)}, text)
        results = run_group(
            targets,
            scanner.scan,
            console,
            abort_message="aborted by a second signal",
            abort_targets=self.arguments["abort_targets"],
        )
        if any(result.exit == _EXIT_INTERRUPTED for result in results):
            option = "--inventory" if self.arguments["inventory"] else "--campaign"
            raise NotStartedError(
                f"interrupted; nothing was sent; the same command with {option} {inventory} resumes the scans"
            )
        return {result.name: result for result in results}

    def notes(self) -> list[str]:
        """The things that were not found."""
        if not self.missing:
            return []
        examples = MissingNames(len(self.missing), tuple(self.missing[:_MAX_EXAMPLES]))
        return [f"  not found   {format_count(len(self.missing), 'thing')} in no target that was listed: {examples}"]
