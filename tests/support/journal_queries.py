"""Rule: what a journal says is read here with plain SQL, not with the program's own reader: an oracle of its own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Set
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.programs import Pair, SimulatorProcess

PENDING, CLAIMED, DONE, FAILED = 0, 1, 2, 3
NO_PAIRS: frozenset[Pair] = frozenset()


def _query_copy(journal: Path, query: str) -> list[Any]:
    """Ask a copy, the WAL beside it included: looking must not repair what a crash left."""
    with TemporaryDirectory() as folder:
        for suffix in ("", "-wal", "-journal"):
            source = journal.with_name(journal.name + suffix)
            if source.exists():
                shutil.copy(source, Path(folder) / f"copy{suffix}")
        with closing(sqlite3.connect(Path(folder) / "copy")) as connection:
            return connection.execute(query).fetchall()


def thing_states(journal: Path) -> dict[Pair, int]:
    """Every thing of the journal and its state."""
    rows = _query_copy(
        journal, "SELECT core.name, thing.name, thing.state FROM thing JOIN core ON core.id = thing.core"
    )
    return {(core, thing): state for core, thing, state in rows}


def pairs_in_state(journal: Path, *selected_states: int) -> set[Pair]:
    """The things in these states."""
    return {pair for pair, state in thing_states(journal).items() if state in selected_states}


def request_count(journal: Path) -> int:
    """Requests the journal holds, answered or not."""
    return int(_query_copy(journal, "SELECT count(*) FROM request")[0][0])


def is_import_finished(journal: Path) -> bool:
    """Whether its import was finished."""
    return bool(_query_copy(journal, "PRAGMA user_version")[0][0])


def assert_consistent(
    journal: Path,
    simulator: SimulatorProcess,
    fleet: Set[Pair],
    nonexistent: Set[Pair] = NO_PAIRS,
    *,
    ambiguous: Set[Pair] = NO_PAIRS,
) -> None:
    """Every thing has one outcome, and it is the truth: done is gone at the service, failed was never there.

    `fleet` is what was associated at first, `ghosts` the rows of the manifest that point at nothing. Of a ghost in
    `ambiguous`, whose first answer got lost, nobody can tell any more that it was never there: it may count as done.
    """
    recorded = thing_states(journal)
    done = {pair for pair, state in recorded.items() if state == DONE}
    failed = {pair for pair, state in recorded.items() if state == FAILED}
    assert set(recorded) == fleet | nonexistent, "things were lost or invented"
    assert done | failed == set(recorded), "something has no outcome"
    assert simulator.associations() == set()
    assert fleet <= done
    assert done - fleet <= nonexistent & ambiguous
