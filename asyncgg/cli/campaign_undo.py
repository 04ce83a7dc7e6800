"""Undoes a campaign: a campaign of the undos of its runs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncgg.cli.campaign import campaign_overrides
from asyncgg.cli.console import Console
from asyncgg.cli.new_campaign import CampaignSource, run_new_campaign, show_campaign_plan
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import run_async
from asyncgg.errors import UsageError
from asyncgg.fleet.campaign import Campaign, CampaignLane
from asyncgg.fleet.lane_journals import prepare_lanes
from asyncgg.fleet.prepare import journal_path
from asyncgg.fleet.scan import snapshot_path
from asyncgg.journal import JournalReader
from asyncgg.manifest.name_lists import Selection, load_selection
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.connection import resolve_saved_endpoint, restore_settings
from asyncgg.runs.prepare import default_stem
from asyncgg.runs.undo_plan import NOT_INHERITED, mark_original_undone, prepare_undo, prior_state_from_snapshot
from asyncgg.settings import OUTPUT_SETTINGS


def undo_campaign(folder: Path, arguments: Mapping[str, Any]) -> int:
    """Undo all runs of the campaign in `folder` and return the exit code. Raises as `run_new_campaign`."""
    only: str | None = arguments["only"]
    inventory: Path | None = arguments["inventory"]
    assume_associated: bool = arguments["assume_associated"]
    overrides = campaign_overrides(arguments)
    new_folder: Path = Path(overrides.pop("journal", default_stem("asyncgg-undo")))
    max_things = overrides.pop("max_things", None)
    settings = {name: value for name, value in overrides.items() if name not in OUTPUT_SETTINGS}
    console = Console(as_json=arguments["json"], quiet=bool(arguments["quiet"]))
    original = Campaign.load(folder)
    if original.state is not None:
        raise UsageError(f"{folder} keeps its journals in {original.state.location}; undo of a state is for one run")
    journals = {lane.name: lane.journal for lane in original.lanes}
    name = f"undo of {folder}"

    def build(selection: Selection | None, lane: CampaignLane) -> tuple[JournalBuilder, Plan] | None:
        path = None if inventory is None else snapshot_path(inventory, lane.name)
        builder, plan = _build(journals[lane.name], lane.journal, settings, selection, path, assume_associated)
        if not plan.things:
            builder.discard()
            return None
        return builder, plan

    @contextmanager
    def prepare(new: Path) -> Iterator[tuple[Campaign, dict[str, Plan]]]:
        selection = load_selection(only) if only else None
        lanes = [replace(lane, journal=journal_path(new, lane.name)) for lane in original.lanes]
        digest = hashlib.sha256(f"undo\n{folder.absolute()}".encode("utf-8", "surrogateescape")).hexdigest()
        limit = None if max_things is None else int(max_things)
        with prepare_lanes(
            new, lanes, lambda lane: build(selection, lane), source=name, digest=digest, max_things=limit
        ) as (campaign, plans):
            if selection is not None and len(plans) == len(campaign.lanes):  # journals made before may have used some
                selection.require_all_used(name)
            yield campaign, plans

    def mark(campaign: Campaign) -> Campaign:
        for lane in campaign.lanes:
            if warning := run_async(mark_original_undone(lane.journal)):
                console.log_event({"event": "warning", "warning": warning}, f"warning: {warning}")
        return campaign

    source = CampaignSource(name=name, prepare=prepare, stdin_in_use=only == "-", on_prepared=mark)
    if arguments["dry_run"]:
        with raise_on_signal(), tempfile.TemporaryDirectory(prefix="asyncgg-plan-") as temporary:
            show_campaign_plan(prepare(Path(temporary)), source, console)
        return 0
    code = run_new_campaign(source, new_folder, arguments, console)
    mark(Campaign.load(new_folder))  # with the counts of the end
    return code


def _build(
    journal: Path,
    new_journal: Path,
    overrides: Mapping[str, Any],
    only: Selection | None,
    inventory: Path | None,
    assume_associated: bool,
) -> tuple[JournalBuilder, Plan]:
    with JournalReader(journal) as reader:
        meta = reader.meta()
        settings = restore_settings(reader.settings(), meta, overrides, exclude=NOT_INHERITED)
    with prior_state_from_snapshot(inventory, journal, meta, assume_associated=assume_associated) as prior_state:
        return prepare_undo(
            journal,
            new_journal,
            settings,
            resolve_saved_endpoint(settings, meta, overrides),
            only=only,
            prior_state=prior_state,
            assume_associated=assume_associated,
            one_of_many=True,
        )
