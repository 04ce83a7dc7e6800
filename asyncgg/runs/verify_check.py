"""Rule: what a journal says of its things is held against what was listed since; here, and nowhere is anything sent.

Only what the journal calls done can be refuted. What failed or was never sent is told beside it: a thing of which it is
not known whether the run changed it may turn out to be so all the same.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from asyncgg.inventory import CoreState, Snapshot
from asyncgg.journal import Certainty, JournalReader, iter_effects
from asyncgg.models import Operation

__all__ = ["CheckCounts", "CheckResult", "CheckedThing", "MergedSnapshots", "check_all", "evaluate", "touched_cores"]

_LISTED: Final = frozenset({CoreState.DONE, CoreState.VANISHED})
_REPORTED_DONE: Final = frozenset({Certainty.ACCEPTED, Certainty.CONFIRMED, Certainty.ALREADY_DONE})


class CheckResult(Enum):
    """What one thing turned out to be."""

    CONFIRMED = "confirmed"
    """Done, as the journal says."""
    MISMATCH = "mismatch"
    """Done by the journal, and it is not so."""
    UNCHECKED = "unchecked"
    """Done by the journal, and its core could not be listed."""
    NOT_DONE = "not_done"
    """Not done by the journal, and it is not so, or nobody looked."""
    DONE_ANYWAY = "done_anyway"
    """Not done by the journal, and it is so all the same."""


@dataclass(frozen=True, slots=True)
class CheckedThing:
    """One thing of a run, looked at again."""

    core: str
    thing: str
    result: CheckResult
    associated_at: float | None
    """Seconds since 1970, UTC, of the association that is there; None when there is none."""


@dataclass(slots=True)
class CheckCounts:
    """How many things turned out how; `doubtful` are the cores worth another look."""

    results: Counter[CheckResult] = field(default_factory=Counter)
    reassociated: int = 0
    """Of the things left: associated after the run began, so somebody associated them again."""
    uncertain_cores: list[str] = field(default_factory=list)


ThingsOnCore = Callable[[str], Mapping[str, float | None] | None]
"""By core: the things that were listed and when each was associated; None when the core could not be listed."""


def evaluate(certainty: Certainty, operation: Operation, is_associated: bool | None) -> CheckResult:
    """What a thing is found to be; `present`: whether the association was listed, None when nobody could see."""
    reported_done = certainty in _REPORTED_DONE
    if is_associated is None:
        return CheckResult.UNCHECKED if reported_done else CheckResult.NOT_DONE
    as_expected = is_associated == (operation is Operation.ASSOCIATE)
    if reported_done:
        return CheckResult.CONFIRMED if as_expected else CheckResult.MISMATCH
    return CheckResult.DONE_ANYWAY if as_expected else CheckResult.NOT_DONE


def touched_cores(reader: JournalReader) -> list[str]:
    """The cores at which the run may have changed something."""
    cores: dict[str, None] = {}
    for effect in iter_effects(reader):
        if effect.certainty is not Certainty.UNCHANGED:
            cores[effect.core] = None
    return list(cores)


def check_all(
    reader: JournalReader, operation: Operation, things_on: ThingsOnCore, counts: CheckCounts, *, run_started_at: float
) -> Iterator[CheckedThing]:
    """Every thing of the journal as it turned out, by core and name; `tally` is filled on the way.

    `began` is when the run began, in seconds since 1970.
    """
    for core, group in groupby(iter_effects(reader), lambda effect: effect.core):
        listed = things_on(core)
        is_uncertain = False
        for effect in group:
            is_associated = None if listed is None else effect.thing in listed
            result = evaluate(effect.certainty, operation, is_associated)
            associated_at = listed.get(effect.thing) if listed else None
            counts.results[result] += 1
            counts.reassociated += (
                result is CheckResult.MISMATCH and associated_at is not None and associated_at > run_started_at
            )
            is_uncertain = is_uncertain or result in {CheckResult.MISMATCH, CheckResult.UNCHECKED}
            yield CheckedThing(core, effect.thing, result, associated_at)
        if is_uncertain:
            counts.uncertain_cores.append(core)


class MergedSnapshots:
    """What snapshots show of cores, the latest one that lists a core counting. Use it as a block."""

    def __init__(self) -> None:
        self.started_at: float | None = None
        """Seconds since 1970, UTC, of the first snapshot's beginning: nothing that is seen is older."""
        self._exit_stack = contextlib.ExitStack()
        self._latest: dict[str, tuple[Snapshot, CoreState]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit_stack.close()

    def add(self, path: Path) -> None:
        """Look at another snapshot, newer than those before. Raises `SnapshotError`."""
        snapshot = self._exit_stack.enter_context(Snapshot(path))
        if self.started_at is None:
            self.started_at = snapshot.started_at
        for core in snapshot.cores():
            # What was seen once is not unseen again by a look that did not get there.
            if core.state in _LISTED or core.device.name not in self._latest:
                self._latest[core.device.name] = (snapshot, core.state)

    def things_on(self, core: str) -> Mapping[str, float | None] | None:
        """The things listed of `core`; none of one that has vanished; None when it could not be listed."""
        if core not in self._latest:
            return None
        snapshot, state = self._latest[core]
        if state is CoreState.VANISHED:
            return {}
        if state is not CoreState.DONE:
            return None
        return {record.thing: record.associated_at for record in snapshot.associations(core)}

    def count_states(self, cores: Iterable[str]) -> Counter[CoreState]:
        """How the listing of these cores stands."""
        return Counter(self._latest[core][1] if core in self._latest else CoreState.WAITING for core in cores)
