"""Rule: from a snapshot to a journal of what goes lives here: every association decided on, written down, counted."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from itertools import islice
from typing import Final

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.rules import Candidate
from asyncgg.cleanup.select import Disposition, decide_chunks
from asyncgg.cleanup.state import RunDirectory
from asyncgg.cleanup.tally import DecisionCounts
from asyncgg.inventory import Snapshot
from asyncgg.runs.prepare import JournalBuilder

__all__ = ["decide_all", "iter_candidates"]

_CHUNK: Final = 5000


def iter_candidates(snapshot: Snapshot) -> Iterator[list[Candidate]]:
    """Every association of a snapshot, in chunks."""
    devices = {core.device.name: core.device for core in snapshot.cores()}
    associations = snapshot.associations()
    while chunk := [Candidate(devices[core], thing, since) for core, thing, since in islice(associations, _CHUNK)]:
        yield chunk


async def decide_all(
    policy: Policy, snapshot: Snapshot, cache: RegistryCache, now: float, builder: JournalBuilder, run_dir: RunDirectory
) -> DecisionCounts:
    """Decide about everything in `snapshot`: what goes into `preparation`, every decision into the night's file.

    Raises as `select`, and `StateWriteError` when the file cannot be written.
    """
    counts = DecisionCounts()
    with run_dir.atomic_write(run_dir.decisions, snapshot.path, "snapshot") as file:
        writer = csv.writer(file)
        writer.writerow(("core", "thing", "verdict", "reason"))
        selected: list[tuple[str, str, str]] = []
        protected = 0
        async for decision in decide_chunks(policy, iter_candidates(snapshot), cache, now):
            counts.add(decision)
            writer.writerow((decision.core, decision.thing, decision.disposition, decision.reason))
            if decision.selected:
                selected.append((decision.core, decision.thing, decision.reason))
            protected += decision.disposition is Disposition.PROTECTED
            if counts.by_disposition.total() % _CHUNK == 0:
                builder.add_with_reasons(selected, protected=protected)
                selected, protected = [], 0
                await asyncio.sleep(0)  # signals and the deadline want their turn
        builder.add_with_reasons(selected, protected=protected)
    return counts
