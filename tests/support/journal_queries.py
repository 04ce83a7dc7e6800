"""SQL queries on journals, independent of the reader of asyncgg."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Set
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.programs import Pair, SimulatorProcess

PENDING, CLAIMED, DONE, FAILED, ALREADY = 0, 1, 2, 3, 4
NO_PAIRS: frozenset[Pair] = frozenset()


def _query_copy(journal: Path, query: str) -> list[Any]:
    """Query a copy of the journal and its WAL, because opening the original would repair it after a crash."""
    with TemporaryDirectory() as folder:
        for suffix in ("", "-wal", "-journal"):
            source = journal.with_name(journal.name + suffix)
            if source.exists():
                shutil.copy(source, Path(folder) / f"copy{suffix}")
        with closing(sqlite3.connect(Path(folder) / "copy")) as connection:
            return connection.execute(query).fetchall()


def thing_states(journal: Path) -> dict[Pair, int]:
    """The state of every thing of the journal."""
    rows = _query_copy(
        journal, "SELECT core.name, thing.name, thing.state FROM thing JOIN core ON core.id = thing.core"
    )
    return {(core, thing): state for core, thing, state in rows}


def pairs_in_state(journal: Path, *selected_states: int) -> set[Pair]:
    """The things in these states."""
    return {pair for pair, state in thing_states(journal).items() if state in selected_states}


def request_count(journal: Path) -> int:
    """Number of requests in the journal, with or without a reply."""
    return int(_query_copy(journal, "SELECT count(*) FROM request")[0][0])


def is_import_finished(journal: Path) -> bool:
    """Whether the import is finished."""
    return bool(_query_copy(journal, "PRAGMA user_version")[0][0])


def assert_consistent(
    journal: Path, simulator: SimulatorProcess, fleet: Set[Pair], nonexistent: Set[Pair] = NO_PAIRS
) -> None:
    """Assert that every thing has one outcome and that it matches the service.

    `fleet` has the associations at the start, `nonexistent` the rows of the manifest without an association.
    """
    recorded = thing_states(journal)
    done = {pair for pair, state in recorded.items() if state == DONE}
    already = {pair for pair, state in recorded.items() if state == ALREADY}
    failed = {pair for pair, state in recorded.items() if state == FAILED}
    assert set(recorded) == fleet | nonexistent, "the journal has missing or additional things"
    assert done | already | failed == set(recorded), "a thing has no outcome"
    assert simulator.associations() == set()
    assert done <= fleet, "a thing that did not exist counts as disassociated"
    assert failed <= nonexistent
