"""Builds the journals that undo the runs of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.campaign_state import CampaignState, for_each_lane
from asyncgg.fleet.scan import snapshot_path
from asyncgg.journal import JournalReader
from asyncgg.manifest.name_lists import Selection
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.connection import resolve_saved_endpoint, restore_settings
from asyncgg.runs.undo_plan import NOT_INHERITED, mark_undone_by, prepare_undo, prior_state_from_snapshot
from asyncgg.settings import OUTPUT_SETTINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignUndo:
    """What is undone."""

    journals: Mapping[str, Path]
    """The journals of the original runs by target."""
    overrides: Mapping[str, Mapping[str, Any]]
    """Settings that replace those of the original journals, by target."""
    only: Selection | None = None
    inventory: Path | None = None
    """A folder of snapshots from before the campaign."""
    assume_associated: bool = False
    state: CampaignState | None = None
    """That of the original campaign, which `journals` are copies from."""

    def build(self, lane: CampaignLane) -> tuple[JournalBuilder, Plan] | None:
        """The journal of a new lane; None if there is nothing to undo. Blocking. Raises as `prepare_undo`."""
        original = self.journals[lane.name]
        overrides = {name: value for name, value in self.overrides[lane.name].items() if name not in OUTPUT_SETTINGS}
        with JournalReader(original) as reader:
            meta = reader.meta()
            settings = restore_settings(reader.settings(), meta, overrides, exclude=NOT_INHERITED)
        inventory = None if self.inventory is None else snapshot_path(self.inventory, lane.name)
        with prior_state_from_snapshot(
            inventory, original, meta, assume_associated=self.assume_associated
        ) as prior_state:
            builder, plan = prepare_undo(
                original,
                lane.journal,
                settings,
                resolve_saved_endpoint(settings, meta, overrides),
                only=self.only,
                prior_state=prior_state,
                assume_associated=self.assume_associated,
                state_location=self.state.lane_location(lane.name) if self.state else "",
                one_of_many=True,
            )
        if not plan.things:
            builder.discard()
            return None
        return builder, plan


async def mark_saved_runs_undone(state: CampaignState, undo_journals: Mapping[str, Path]) -> list[str]:
    """Record these undos in the saved original runs; returns why that is not possible for some.

    Raises `LeaseHeldError` if a process runs one of them, and as `StateKeeper`.
    """

    async def mark(client: Any, name: str, undo_journal: Path) -> str:
        async with state.keeper(name, client) as keeper:
            run = keeper.latest()
            if run is None or not run.has_journal:
                return f"{keeper.location} has no run of {name} that could mention this undo"
            return await mark_undone_by(undo_journal, run.journal)

    return [warning for warning in await for_each_lane(state, undo_journals, mark) if warning]
