"""Rule: from a snapshot to a journal of what goes lives here: every association decided on, written down, counted."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from itertools import islice
from typing import Final

from asyncgg.cleanup.nights import Night
from asyncgg.cleanup.policy import Policy
from asyncgg.cleanup.questions import Questions
from asyncgg.cleanup.rules import Candidate
from asyncgg.cleanup.select import Verdict, select
from asyncgg.cleanup.tally import Tally
from asyncgg.inventory import Snapshot
from asyncgg.runs.prepare import JournalBuilder

__all__ = ["candidates", "choose"]

_CHUNK: Final = 5000


def candidates(snapshot: Snapshot) -> Iterator[list[Candidate]]:
    """Every association of a snapshot, in chunks."""
    devices = {core.device.name: core.device for core in snapshot.cores()}
    found = snapshot.associations()
    while chunk := [Candidate(devices[core], thing, since) for core, thing, since in islice(found, _CHUNK)]:
        yield chunk


async def choose(
    policy: Policy, snapshot: Snapshot, questions: Questions, now: float, preparation: JournalBuilder, night: Night
) -> Tally:
    """Decide about everything in `snapshot`: what goes into `preparation`, every decision into the night's file.

    Raises as `select`, and `StateWriteError` when the file cannot be written.
    """
    tally = Tally()
    with night.writing(night.decisions, snapshot.path, "snapshot") as file:
        rows = csv.writer(file)
        rows.writerow(("core", "thing", "verdict", "reason"))
        chosen: list[tuple[str, str, str]] = []
        protected = 0
        async for decision in select(policy, candidates(snapshot), questions, now):
            tally.add(decision)
            rows.writerow((decision.core, decision.thing, decision.verdict, decision.reason))
            if decision.selected:
                chosen.append((decision.core, decision.thing, decision.reason))
            protected += decision.verdict is Verdict.PROTECTED
            if tally.verdicts.total() % _CHUNK == 0:
                preparation.add_with_reasons(chosen, protected=protected)
                chosen, protected = [], 0
                await asyncio.sleep(0)  # signals and the deadline want their turn
        preparation.add_with_reasons(chosen, protected=protected)
    return tally
