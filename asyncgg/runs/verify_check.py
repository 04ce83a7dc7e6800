"""Compares the things of a journal with later snapshots."""

# Only a thing that the journal reports as done can be a mismatch. Failed and unsent things are
# counted separately: a thing that the run possibly changed can be in the expected state.

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Final

from asyncgg.inventory import CoreState, Snapshot
from asyncgg.journal import Certainty, JournalReader, iter_effects
from asyncgg.models import Operation

_LISTED: Final = frozenset({CoreState.DONE, CoreState.VANISHED})
_REPORTED_DONE: Final = frozenset({Certainty.ACCEPTED, Certainty.CONFIRMED, Certainty.ALREADY_DONE})


class CheckResult(Enum):
    """The result of the check of one thing."""

    CONFIRMED = "confirmed"
    """Done according to the journal, and in the expected state."""
    MISMATCH = "mismatch"
    """Done according to the journal, but not in the expected state."""
    UNCHECKED = "unchecked"
    """Done according to the journal, but the core could not be listed."""
    NOT_DONE = "not_done"
    """Not done according to the journal, and not in the expected state or not listed."""
    DONE_ANYWAY = "done_anyway"
    """Not done according to the journal, but in the expected state."""


@dataclass(frozen=True, slots=True)
class CheckedThing:
    """One thing of a run with its result."""

    core: str
    thing: str
    result: CheckResult
    associated_at: float | None
    """Time of the present association in seconds since 1970; None without one."""


@dataclass(slots=True)
class CheckCounts:
    """Things by result, and the cores to scan again."""

    results: Counter[CheckResult] = field(default_factory=Counter)
    reassociated: int = 0
    """Mismatches associated after the run started, that is, associated again."""
    uncertain_cores: list[str] = field(default_factory=list)


ThingsOnCore = Callable[[str], Mapping[str, float | None] | None]
"""By core: the listed things with the time of association; None if the core could not be listed."""


def evaluate(certainty: Certainty, operation: Operation, is_associated: bool | None) -> CheckResult:
    """Check one thing. `is_associated`: None if its core could not be listed."""
    reported_done = certainty in _REPORTED_DONE
    if is_associated is None:
        return CheckResult.UNCHECKED if reported_done else CheckResult.NOT_DONE
    as_expected = is_associated == (operation is Operation.ASSOCIATE)
    if reported_done:
        return CheckResult.CONFIRMED if as_expected else CheckResult.MISMATCH
    return CheckResult.DONE_ANYWAY if as_expected else CheckResult.NOT_DONE


def touched_cores(reader: JournalReader) -> list[str]:
    """The cores at which the run possibly changed something."""
    cores: dict[str, None] = {}
    for effect in iter_effects(reader):
        if effect.certainty is not Certainty.UNCHANGED:
            cores[effect.core] = None
    return list(cores)


def check_all(
    reader: JournalReader, operation: Operation, things_on: ThingsOnCore, counts: CheckCounts, *, run_started_at: float
) -> Iterator[CheckedThing]:
    """Yield every thing of the journal with its result, by core and name. Updates `counts`.

    `run_started_at`: seconds since 1970.
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


class MergedSnapshots(AbstractContextManager["MergedSnapshots"]):
    """Several snapshots as one: for each core the latest one that lists the core."""

    def __init__(self) -> None:
        self.started_at: float | None = None
        """Start of the first snapshot in seconds since 1970."""
        self._exit_stack = contextlib.ExitStack()
        self._latest: dict[str, tuple[Snapshot, CoreState]] = {}

    def __exit__(self, *_: object) -> None:
        self._exit_stack.close()

    def add(self, path: Path) -> None:
        """Add a snapshot newer than the others. Raises `SnapshotError`."""
        snapshot = self._exit_stack.enter_context(Snapshot(path))
        if self.started_at is None:
            self.started_at = snapshot.started_at
        for core in snapshot.cores():
            # A scan that did not list the core does not replace one that did.
            if core.state in _LISTED or core.device.name not in self._latest:
                self._latest[core.device.name] = (snapshot, core.state)

    def things_on(self, core: str) -> Mapping[str, float | None] | None:
        """The things of `core`, none if it was deleted; None if it could not be listed."""
        if core not in self._latest:
            return None
        snapshot, state = self._latest[core]
        if state is CoreState.VANISHED:
            return {}
        if state is not CoreState.DONE:
            return None
        return {record.thing: record.associated_at for record in snapshot.associations(core)}

    def count_states(self, cores: Iterable[str]) -> Counter[CoreState]:
        """Number of these cores by state."""
        return Counter(self._latest[core][1] if core in self._latest else CoreState.WAITING for core in cores)
