"""Builds the journals of a campaign one by one: a target whose journal cannot be built ends alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from asyncgg.errors import AsyncggError, GuardError, ManifestError, UsageError
from asyncgg.fleet.campaign import Campaign, CampaignLane
from asyncgg.fleet.folder import FILE_NAME, is_campaign, new_folder, require_prepared
from asyncgg.fleet.results import LaneResult, failed_result, first_exit_code
from asyncgg.runs import JournalBuilder, Plan

BuildLane = Callable[[CampaignLane], tuple[JournalBuilder, Plan] | None]
"""Builds the finished journal of a lane, None if there is nothing to do. Raises what ends the target."""


class TargetsFailedError(AsyncggError):
    """No target can be run."""

    def __init__(self, results: Sequence[LaneResult]) -> None:
        lines = [f"{result.name}: {result.reason}" for result in results]
        super().__init__("\n".join(["no target can be run:", *lines]))
        self.exit_code = first_exit_code(result.exit for result in results)


def require_same_source(folder: Path, digest: str) -> None:
    """Raise `UsageError` if `folder` has a campaign that was not made from the source with this digest.

    Also raises as `require_prepared`.
    """
    require_prepared(folder)
    if is_campaign(folder) and Campaign.load(folder).digest != digest:
        raise UsageError(
            f"{folder} is the campaign of another list; continue it with `asyncgg resume {folder}`, or choose another"
            " --campaign"
        )


@contextlib.contextmanager
def prepare_lanes(
    folder: Path, lanes: Sequence[CampaignLane], build: BuildLane, *, source: str, digest: str, max_things: int | None
) -> Iterator[tuple[Campaign, dict[str, Plan]]]:
    """The campaign in `folder` and the plans of its new journals. Blocking.

    Journals that are there already are kept. An exception in the block removes what was created.

    Raises:
        UsageError: as `require_same_source`, or the folder cannot be written.
        TargetsFailedError: no journal could be built.
        ManifestError: there is nothing to do in any target.
        GuardError: more things than `max_things` in all targets.
    """
    require_same_source(folder, digest)
    with new_folder(folder), contextlib.ExitStack() as undo:
        plans: dict[str, Plan] = {}
        prepared: list[CampaignLane] = []
        failed: list[LaneResult] = []
        for lane in lanes:
            if lane.journal.exists():
                prepared.append(lane)
                continue
            try:
                built = build(lane)
            except AsyncggError as error:
                failed.append(failed_result(LaneResult.without_journal(lane.name, lane.journal), error))
                continue
            if built is not None:
                builder, plans[lane.name] = built
                undo.callback(builder.discard)
                prepared.append(lane)
        if not prepared:
            raise TargetsFailedError(failed) if failed else ManifestError(f"{source}: nothing to do in any target")
        check_total(plans, source, max_things)
        campaign = Campaign(folder, tuple(prepared), digest=digest, unprepared=tuple(failed))
        if not is_campaign(folder):
            undo.callback((folder / FILE_NAME).unlink, missing_ok=True)
        campaign.save()
        yield campaign, plans
        undo.pop_all()


def check_total(plans: Mapping[str, Plan], source: str, max_things: int | None) -> None:
    """Raise `GuardError` if the plans have more things together."""
    total = sum(plan.things for plan in plans.values())
    if max_things is not None and total > max_things:
        raise GuardError(
            f"{source}: {total:,} things in all targets, --max-things allows {max_things:,}; nothing was sent"
        )
