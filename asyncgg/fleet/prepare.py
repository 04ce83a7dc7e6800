"""Creates a campaign: routes the rows of a manifest to journals of the targets."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import AsyncggError, ManifestError, UsageError
from asyncgg.fleet.campaign import Campaign, CampaignLane, Shard
from asyncgg.fleet.campaign_state import CampaignState
from asyncgg.fleet.folder import FILE_NAME, is_campaign, new_folder, require_prepared
from asyncgg.fleet.lane_journals import check_total
from asyncgg.fleet.routing import RoutedRows
from asyncgg.fleet.targets import FleetTarget
from asyncgg.formatting import format_count
from asyncgg.manifest import BadRow, Chunk, RejectsWriter
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.connection import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint, resolve_endpoint

_MAX_LISTED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRequest:
    """What a campaign is made from."""

    folder: Path
    source: str
    """The name of the manifest."""
    targets: Mapping[str, tuple[FleetTarget, Settings]]
    """The targets by name, with the settings of their runs."""
    shard: Shard | None = None
    skip_bad_rows: bool = False
    max_things: int | None = None
    """Maximum things of all targets together."""
    rejects: RejectsWriter | None = None
    state: CampaignState | None = None
    """Where the journals are to be kept; its digest is set here."""


@contextlib.contextmanager
def prepare_campaign(
    request: CampaignRequest, rows: Iterable[RoutedRows]
) -> Iterator[tuple[Campaign, dict[str, Plan]]]:
    """The campaign with a journal for each target that has rows, and their plans. Blocking.

    An exception in the block removes what was created. With a shard, journals of the other shards
    are not created, and journals that exist are kept.

    Raises:
        UsageError: the folder has a campaign, or a target cannot be used.
        ManifestError: bad rows without `skip_bad_rows`, or no rows.
        GuardError: more things than allowed, in a target or in total.
    """
    if is_campaign(request.folder) and request.shard is None:
        raise UsageError(
            f"{request.folder} has a campaign; continue it with `asyncgg resume {request.folder}`, or choose another"
            " --campaign"
        )
    if request.shard is None:
        require_prepared(request.folder)
    with new_folder(request.folder), contextlib.ExitStack() as undo:
        builders, lanes, rejected, digest = _build(request, rows, undo)
        plans: dict[str, Plan] = {}
        for name, builder in builders.items():
            endpoint = _endpoint(*request.targets[name])
            plans[name] = builder.finish(endpoint)
            if builder.needs_snapshot:
                builder.commit_before_snapshot()
        check_total(plans, request.source, request.max_things)
        state = request.state and replace(request.state, digest=digest)
        campaign = Campaign(request.folder, tuple(lanes), rejected, state)
        _save(campaign, request.shard, undo)
        yield campaign, plans
        undo.pop_all()


def _build(
    request: CampaignRequest, rows: Iterable[RoutedRows], undo: contextlib.ExitStack
) -> tuple[dict[str, JournalBuilder], list[CampaignLane], int, str]:
    """The builders by target, all lanes, the number of bad rows, and a digest of the good ones."""
    own = _own_names(request)
    builders: dict[str, JournalBuilder] = {}
    used: set[str] = set()
    bad: list[BadRow] = []
    rejected, digest = 0, hashlib.sha256()
    for chunk in rows:
        rejected += len(chunk.bad)
        bad += chunk.bad[: _MAX_LISTED - len(bad)]
        if request.rejects is not None:
            request.rejects.write(chunk.bad)
        for name, pairs in chunk.pairs.items():
            used.add(name)
            digest.update(repr((name, pairs)).encode("utf-8", "surrogatepass"))
            if name not in own:
                continue
            if name not in builders:
                builders[name] = _new_builder(request, name)
                undo.callback(builders[name].discard)
            builders[name].add(Chunk(good=pairs))
    if rejected and not request.skip_bad_rows:
        omitted = [f"... and {rejected - len(bad)} more"] if rejected > len(bad) else []
        message = f"{request.source}: {format_count(rejected, 'bad row')}, nothing was sent; correct the rows, or use"
        raise ManifestError("\n".join([f"{message} --skip-bad-rows", *map(str, bad), *omitted]))
    if not used:
        raise ManifestError(f"{request.source}: no associations; nothing was sent")
    lanes = [
        CampaignLane(index, name, target.account, target.region, journal_path(request.folder, name))
        for index, (name, (target, _)) in enumerate(request.targets.items())
        if name in used
    ]
    return builders, lanes, rejected, digest.hexdigest()


def _own_names(request: CampaignRequest) -> set[str]:
    """The targets whose journals are created here: those of the shard, without those that exist."""
    if request.shard is None:
        return set(request.targets)
    names = {name for index, name in enumerate(request.targets) if request.shard.owns(index)}
    return {name for name in names if not journal_path(request.folder, name).exists()}


def journal_path(folder: Path, name: str) -> Path:
    """The journal of a target."""
    return folder / f"{name}.journal"


def _new_builder(request: CampaignRequest, name: str) -> JournalBuilder:
    target, settings = request.targets[name]
    extra: dict[str, Any] = {"target": target.name}
    path = journal_path(request.folder, name)
    return JournalBuilder(path, settings, source=request.source, extra_meta=extra, allow_empty=True)


def _endpoint(target: FleetTarget, settings: Settings) -> Endpoint:
    try:
        return resolve_endpoint(connection_from_settings(settings))
    except AsyncggError as error:
        raise type(error)(f"{target.location}: target {target.name}: {error}") from None


def _save(campaign: Campaign, shard: Shard | None, undo: contextlib.ExitStack) -> None:
    if shard is not None and is_campaign(campaign.folder):
        if Campaign.load(campaign.folder).lanes != campaign.lanes:
            raise UsageError(
                f"{campaign.folder} is the campaign of other targets or another manifest; choose another --campaign"
            )
        return
    campaign.save()
    if shard is None:
        undo.callback((campaign.folder / FILE_NAME).unlink, missing_ok=True)
