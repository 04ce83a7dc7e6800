"""Decides about every association of a snapshot, and writes the decisions."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from heapq import nlargest
from itertools import islice
from typing import Final

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.report import DecisionCounts
from asyncgg.cleanup.rules.base import Candidate
from asyncgg.cleanup.select import Disposition, decide_chunks
from asyncgg.errors import GuardError
from asyncgg.inventory import CoreState, Snapshot
from asyncgg.run_directory import RunDirectory
from asyncgg.runs import JournalBuilder

_CHUNK_SIZE: Final = 5000
"""Associations that are decided about at a time."""
_PROBED_CORES: Final = 10
"""Core devices that are looked up in the registry, until one is found."""


async def decide_all(
    policy: Policy, snapshot: Snapshot, cache: RegistryCache, now: float, builder: JournalBuilder, run_dir: RunDirectory
) -> DecisionCounts:
    """Decide about every association: add the selected ones to `builder`, and write all decisions.

    Raises as `decide_chunks`, `StateWriteError` if the decisions cannot be written, and `GuardError` if the
    registry seems to be that of another account.
    """
    counts = DecisionCounts()
    with run_dir.atomic_write(run_dir.decisions, snapshot.path, "snapshot") as file:
        writer = csv.writer(file)
        writer.writerow(("core", "thing", "verdict", "reason"))
        selected: list[tuple[str, str, str]] = []
        protected = 0
        async for decision in decide_chunks(policy, _iter_candidates(snapshot), cache, now):
            counts.add(decision)
            writer.writerow((decision.core, decision.thing, decision.disposition, decision.reason))
            if decision.selected:
                selected.append((decision.core, decision.thing, decision.reason))
            protected += decision.disposition is Disposition.PROTECTED
            if counts.by_disposition.total() % _CHUNK_SIZE == 0:
                builder.add_with_reasons(selected, protected=protected)
                selected, protected = [], 0
                await asyncio.sleep(0)  # lets signals and the deadline in
        builder.add_with_reasons(selected, protected=protected)
    if counts.selected:
        await _require_right_registry(snapshot, cache)
    return counts


def _iter_candidates(snapshot: Snapshot) -> Iterator[list[Candidate]]:
    devices = {core.device.name: core.device for core in snapshot.cores()}
    associations = snapshot.associations()
    while chunk := [Candidate(devices[core], thing, since) for core, thing, since in islice(associations, _CHUNK_SIZE)]:
        yield chunk


async def _require_right_registry(snapshot: Snapshot, cache: RegistryCache) -> None:
    """Raise `GuardError` if things are missing in the registry, and the most recently active cores as well.

    In the registry of another account or Region, all things are missing. The right registry contains the core
    devices, which are things [service model: coreDeviceThingName].
    """
    if not cache.statistics().missing:
        return
    devices = (core.device for core in snapshot.cores() if core.state is CoreState.DONE)
    recent = nlargest(_PROBED_CORES, devices, key=lambda device: device.last_status_at or 0.0)
    names = [device.name for device in recent]
    if not await cache.any_exists(names):
        raise GuardError(
            f"AWS IoT contains none of the core devices {', '.join(names)}: check account and Region of the"
            " AWS IoT endpoint; nothing was sent"
        )
