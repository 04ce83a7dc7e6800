"""Undoes a campaign: a campaign of the undos of its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.campaign import campaign_context
from asyncgg.cli.context import CommandContext
from asyncgg.cli.fleet_targets import overrides_by_lane
from asyncgg.cli.new_campaign import CampaignSource, make_campaign
from asyncgg.cli.supervisor import run_async
from asyncgg.errors import AsyncggError
from asyncgg.fleet.campaign import Campaign, CampaignLane
from asyncgg.fleet.campaign_state import mark_saved_runs_undone
from asyncgg.fleet.lane_journals import prepare_lanes
from asyncgg.fleet.prepare import journal_path
from asyncgg.fleet.scan import snapshot_path
from asyncgg.journal import JournalReader
from asyncgg.manifest.name_lists import Selection, load_selection
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.connection import resolve_saved_endpoint, restore_settings
from asyncgg.runs.prepare import default_stem
from asyncgg.runs.undo_plan import NOT_INHERITED, mark_original_undone, prepare_undo, prior_state_from_snapshot
from asyncgg.settings import OUTPUT_SETTINGS, build_settings

_OF_CAMPAIGN: Final = OUTPUT_SETTINGS | {"journal", "max_things"}


class UndoSource(CampaignSource):
    """A campaign to undo."""

    def __init__(self, original: Campaign, context: CommandContext, arguments: Mapping[str, Any]) -> None:
        super().__init__(f"undo of {original.folder}", context, arguments)
        self.original = original
        self.stdin_in_use = arguments["only"] == "-"

    @contextmanager
    def prepare(self, folder: Path) -> Iterator[tuple[Campaign, dict[str, Plan]]]:
        """Make the campaign in `folder`, as `prepare_lanes`. Raises `UsageError` for unknown entries of `--only`."""
        arguments = self.arguments
        overrides = overrides_by_lane(self.original, arguments)
        only = load_selection(arguments["only"]) if arguments["only"] else None
        path = str(self.original.folder.absolute()).encode("utf-8", "surrogateescape")
        digest = hashlib.sha256(b"undo\n" + path).hexdigest()
        with self.original.with_journals() as copied:
            originals = [lane for lane in copied.lanes if lane.name in overrides]
            journals = {lane.name: lane.journal for lane in originals}

            def build(lane: CampaignLane) -> tuple[JournalBuilder, Plan] | None:
                return self._build(journals[lane.name], lane, overrides[lane.name], only)

            lanes = [replace(lane, journal=journal_path(folder, lane.name)) for lane in originals]
            limit = build_settings({}, {"max_things": arguments["max_things"]}).max_things
            with prepare_lanes(folder, lanes, build, source=self.name, digest=digest, max_things=limit) as prepared:
                campaign, plans = prepared
                if only is not None and len(plans) == len(campaign.lanes):  # journals made before may have used some
                    only.require_all_used(self.name)
                yield campaign, plans

    def _build(
        self, original: Path, lane: CampaignLane, overrides: Mapping[str, Any], only: Selection | None
    ) -> tuple[JournalBuilder, Plan] | None:
        """The journal of a new lane; None if there is nothing to undo. Raises as `prepare_undo`."""
        inventory, assume = self.arguments["inventory"], self.arguments["assume_associated"]
        overrides = {name: value for name, value in overrides.items() if name not in _OF_CAMPAIGN}
        with JournalReader(original) as reader:
            meta = reader.meta()
            settings = restore_settings(reader.settings(), meta, overrides, exclude=NOT_INHERITED)
        snapshot = inventory and snapshot_path(inventory, lane.name)
        with prior_state_from_snapshot(snapshot, original, meta, assume_associated=assume) as prior_state:
            builder, plan = prepare_undo(
                original,
                lane.journal,
                settings,
                resolve_saved_endpoint(settings, meta, overrides),
                only=only,
                prior_state=prior_state,
                assume_associated=assume,
                state_location=self.original.state.lane_location(lane.name) if self.original.state else "",
                one_of_many=True,
            )
        if plan.things:
            return builder, plan
        builder.discard()
        return None

    def before_start(self, campaign: Campaign) -> Campaign:
        """Record the undos in the original journals. Raises as `mark_saved_runs_undone`."""
        journals = {lane.name: lane.journal for lane in campaign.lanes}
        if self.original.state is None:
            marks = [run_async(mark_original_undone(journal)) for journal in journals.values()]
        else:
            marks = run_async(mark_saved_runs_undone(self.original.state, journals))
        for warning in filter(None, marks):
            self._warn(warning)
        return campaign

    def mark_at_end(self, campaign: Campaign) -> None:
        """Record the counts of the end; what prevents that is a warning, since the undo is done."""
        try:
            self.before_start(campaign)
        except AsyncggError as error:
            self._warn(str(error))

    def _warn(self, warning: str) -> None:
        self.context.console.log_event({"event": "warning", "warning": warning}, f"warning: {warning}")


def undo_campaign(folder: Path, arguments: Mapping[str, Any]) -> int:
    """Undo all runs of the campaign in `folder` and return the exit code. Raises as `make_campaign`."""
    source = UndoSource(Campaign.load(folder), campaign_context(arguments), arguments)
    new_folder = Path(arguments["journal"] or default_stem("asyncgg-undo"))
    code = make_campaign(source, new_folder, plan_only=arguments["dry_run"])
    if not arguments["dry_run"]:
        source.mark_at_end(Campaign.load(new_folder))
    return code
