"""Rule: what a journal says is read here with plain SQL, not with the program's own reader: an oracle of its own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Set
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.e2e.support import Pair, Simulator

PENDING, CLAIMED, DONE, FAILED = 0, 1, 2, 3
NONE: frozenset[Pair] = frozenset()


def _query(journal: Path, query: str) -> list[Any]:
    """Ask a copy, the WAL beside it included: looking must not repair what a crash left."""
    with TemporaryDirectory() as folder:
        for ending in ("", "-wal", "-journal"):
            part = journal.with_name(journal.name + ending)
            if part.exists():
                shutil.copy(part, Path(folder) / f"copy{ending}")
        with closing(sqlite3.connect(Path(folder) / "copy")) as connection:
            return connection.execute(query).fetchall()


def states(journal: Path) -> dict[Pair, int]:
    """Every thing of the journal and its state."""
    rows = _query(journal, "SELECT core.name, thing.name, thing.state FROM thing JOIN core ON core.id = thing.core")
    return {(core, thing): state for core, thing, state in rows}


def of_state(journal: Path, *wanted: int) -> set[Pair]:
    """The things in these states."""
    return {pair for pair, state in states(journal).items() if state in wanted}


def requests(journal: Path) -> int:
    """Requests the journal holds, answered or not."""
    return int(_query(journal, "SELECT count(*) FROM request")[0][0])


def imported(journal: Path) -> bool:
    """Whether its import was finished."""
    return bool(_query(journal, "PRAGMA user_version")[0][0])


def assert_agreement(
    journal: Path, simulator: Simulator, fleet: Set[Pair], ghosts: Set[Pair] = NONE, *, unclear: Set[Pair] = NONE
) -> None:
    """Every thing has one outcome, and it is the truth: done is gone at the service, failed was never there.

    `fleet` is what was associated at first, `ghosts` the rows of the manifest that point at nothing. Of a ghost in
    `unclear`, whose first answer got lost, nobody can tell any more that it was never there: it may count as done.
    """
    found = states(journal)
    done = {pair for pair, state in found.items() if state == DONE}
    failed = {pair for pair, state in found.items() if state == FAILED}
    assert set(found) == fleet | ghosts, "things were lost or invented"
    assert done | failed == set(found), "something has no outcome"
    assert simulator.associated() == set()
    assert fleet <= done
    assert done - fleet <= ghosts & unclear
