"""Rule: from a snapshot to a journal of what goes lives here: every association decided on, written down, counted."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from asyncgg.cleanup.policy import Policy
from asyncgg.cleanup.questions import Questions
from asyncgg.cleanup.rules import Candidate
from asyncgg.cleanup.select import select
from asyncgg.cleanup.tally import Tally
from asyncgg.inventory import Snapshot
from asyncgg.manifest.writing import written
from asyncgg.runs.prepare import Preparation

__all__ = ["candidates", "choose"]

_CHUNK: Final = 5000


def candidates(snapshot: Snapshot) -> Iterator[list[Candidate]]:
    """Every association of a snapshot, in chunks."""
    devices = {core.device.name: core.device for core in snapshot.cores()}
    found = snapshot.associations()
    while chunk := [Candidate(devices[core], thing, since) for core, thing, since in islice(found, _CHUNK)]:
        yield chunk


async def choose(
    policy: Policy, snapshot: Snapshot, questions: Questions, now: float, preparation: Preparation, decisions: Path
) -> Tally:
    """Decide about everything in `snapshot`: what goes into `preparation`, every decision into the file `decisions`.

    Raises as `select`, and `UsageError` when the file cannot be written.
    """
    tally = Tally()
    with written(decisions, snapshot.path, "snapshot") as file:
        rows = csv.writer(file)
        rows.writerow(("core", "thing", "verdict", "reason"))
        chosen: list[tuple[str, str, str]] = []
        async for decision in select(policy, candidates(snapshot), questions, now):
            tally.add(decision)
            rows.writerow((decision.core, decision.thing, decision.verdict, decision.reason))
            if decision.selected:
                chosen.append((decision.core, decision.thing, decision.reason))
            if tally.verdicts.total() % _CHUNK == 0:
                _hand_over(preparation, chosen)
                await asyncio.sleep(0)  # signals and the deadline want their turn
        _hand_over(preparation, chosen)
    return tally


def _hand_over(preparation: Preparation, chosen: list[tuple[str, str, str]]) -> None:
    things: Sequence[tuple[str, str, str]] = chosen[:]
    preparation.add_chosen(things)
    chosen.clear()
