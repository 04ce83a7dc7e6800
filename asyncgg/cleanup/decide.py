"""Decisions about a whole snapshot: into the journal, the decisions file and the counts."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from itertools import islice
from typing import Final

from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache
from asyncgg.cleanup.report import DecisionCounts
from asyncgg.cleanup.rules import Candidate
from asyncgg.cleanup.select import Disposition, decide_chunks
from asyncgg.cleanup.state import RunDirectory
from asyncgg.inventory import Snapshot
from asyncgg.runs.prepare import JournalBuilder

_CHUNK: Final = 5000


def iter_candidates(snapshot: Snapshot) -> Iterator[list[Candidate]]:
    """All associations of a snapshot, in chunks."""
    devices = {core.device.name: core.device for core in snapshot.cores()}
    associations = snapshot.associations()
    while chunk := [Candidate(devices[core], thing, since) for core, thing, since in islice(associations, _CHUNK)]:
        yield chunk


async def decide_all(
    policy: Policy, snapshot: Snapshot, cache: RegistryCache, now: float, builder: JournalBuilder, run_dir: RunDirectory
) -> DecisionCounts:
    """Decide about every association: add the selected ones to `builder`, and write all decisions.

    Raises as `decide_chunks`, and `StateWriteError` if the decisions cannot be written.
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
                await asyncio.sleep(0)  # lets signals and the deadline in
        builder.add_with_reasons(selected, protected=protected)
    return counts
