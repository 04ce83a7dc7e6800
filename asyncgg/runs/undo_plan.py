"""Decides what of a run is undone, and builds the journal of the inverse operation."""

# Only what the run is known to have changed is reverted: the service accepted the thing, and its
# state before the run is known. A run of a listing has that provenance itself; for others a
# snapshot from before the run or the user (--assume-associated) provides it. Otherwise a thing is
# left unchanged.

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from asyncgg.errors import JournalError, UsageError
from asyncgg.files import atomic_write_text
from asyncgg.formatting import format_count, format_timestamp
from asyncgg.inventory import Snapshot
from asyncgg.journal import Certainty, JournalReader, ThingEffect, iter_effects, parse_operation
from asyncgg.manifest import Chunk
from asyncgg.manifest.name_lists import Selection
from asyncgg.models import Operation
from asyncgg.report.undo_marks import UndoMark, mark_undone
from asyncgg.runs.plan import Plan
from asyncgg.runs.prepare import JournalBuilder
from asyncgg.runs.provenance import ProvenanceKind, provenance_from_meta, provenance_to_meta
from asyncgg.settings import Settings
from asyncgg.state import saved_path
from asyncgg.transport import Endpoint

PriorState = Callable[[str], Container[str]]
"""By core: the things associated before the run."""

NOT_INHERITED: Final = frozenset({"max_things", "protect", "skip_bad_rows"})
"""Settings about the list of a run, which do not apply to its undo."""

_CHUNK_SIZE: Final = 5_000


class UndoDecision(Enum):
    """The decision about one thing of a run. The values are keys of the plan in JSON."""

    REVERT = "revert"
    PRIOR_STATE_UNKNOWN = "prior_state_unknown"
    """The run may have changed the thing, but its state before is unknown."""
    UNCHANGED = "unchanged"
    """The service reported the state as already present, rejected every request, or got none."""
    UNCERTAIN = "uncertain"
    """Failed after a lost reply: possibly changed."""
    UNRESOLVED = "unresolved"
    """Possibly sent, without a final outcome."""
    NOT_SELECTED = "not_selected"
    """Not selected by the user."""


_DECISIONS: Final[Mapping[Certainty, UndoDecision]] = {
    Certainty.ACCEPTED: UndoDecision.REVERT,
    Certainty.CONFIRMED: UndoDecision.REVERT,
    Certainty.ALREADY_DONE: UndoDecision.UNCHANGED,
    Certainty.UNCHANGED: UndoDecision.UNCHANGED,
    Certainty.UNCERTAIN: UndoDecision.UNCERTAIN,
    Certainty.UNRESOLVED: UndoDecision.UNRESOLVED,
}


DECISION_LABELS: Final[Mapping[UndoDecision, str]] = {
    UndoDecision.PRIOR_STATE_UNKNOWN: "not known to have been associated before",
    UndoDecision.UNCHANGED: "not changed by the run",
    UndoDecision.UNCERTAIN: "failed after a lost reply, possibly changed (use verify)",
    UndoDecision.UNRESOLVED: "possibly sent",
    UndoDecision.NOT_SELECTED: "not in the list",
}
"""Labels of the excluded things, in the order of `UndoDecision`."""


def decide(certainty: Certainty, *, prior_state_known: bool, revert_uncertain: bool = False) -> UndoDecision:
    """The decision for a thing with this effect, whose state before the run is known or not.

    `revert_uncertain`: revert also what was possibly changed.
    """
    decision = _DECISIONS[certainty]
    if revert_uncertain and decision in (UndoDecision.UNCERTAIN, UndoDecision.UNRESOLVED):
        decision = UndoDecision.REVERT
    return UndoDecision.PRIOR_STATE_UNKNOWN if decision is UndoDecision.REVERT and not prior_state_known else decision


class _ContainsAll:
    def __contains__(self, thing: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _OriginalRun:
    path: Path
    run: str
    operation: Operation
    has_provenance: bool
    """Whether the journal proves the state of the things before the run."""
    meta: Mapping[str, str]
    state_location: str
    """Of the state that has the journal; empty for a file."""

    @property
    def name(self) -> str:
        shown = saved_path(self.state_location, self.path) if self.state_location else self.path
        return f"run {self.run} ({shown})"

    @property
    def argument(self) -> str:
        return f"--state {shlex.quote(self.state_location)}" if self.state_location else shlex.quote(str(self.path))


def prepare_undo(
    journal: Path,
    new_journal: Path | None,
    settings: Settings,
    target: Endpoint | None,
    *,
    only: Selection | None = None,
    prior_state: PriorState | None = None,
    assume_associated: bool = False,
    state_location: str = "",
    one_of_many: bool = False,
    revert_uncertain: bool = False,
) -> tuple[JournalBuilder, Plan]:
    """Build `new_journal`, which reverts what the run of `journal` is known to have changed. Blocking.

    `prior_state`: the content of a snapshot from before the run. `assume_associated`: every thing
    of the run was associated before. `state_location`: that of the state that has both journals, each
    in the folder of its run. `one_of_many`: entries of `only` can be in other runs, and a run with
    nothing to undo has a journal of 0 things. `revert_uncertain`: revert also what was possibly
    changed, and accept a run without an end.

    Raises:
        UsageError: things without a final outcome or with unknown prior state; nothing to undo;
            entries of `only` that are not in the run.
        GuardError: more things than `max_things`.
        JournalError: the journal cannot be read or is in use, or the new one cannot be created.
    """
    counts: Counter[UndoDecision] = Counter()
    with JournalReader(journal) as reader:
        original = _read_original_run(reader, state_location)
        all_known = assume_associated or original.has_provenance
        things_before: PriorState = (lambda core: _ContainsAll()) if all_known else prior_state or (lambda core: ())
        pairs = _select(iter_effects(reader), things_before, only, counts, revert_uncertain=revert_uncertain)
        with JournalBuilder(
            new_journal,
            settings,
            source=original.name,
            operation=original.operation.inverse,
            extra_meta=_metadata(original),
            allow_empty=one_of_many,
        ) as builder:
            while good := list(islice(pairs, _CHUNK_SIZE)):
                builder.add(Chunk(good=good))
            if only is not None:
                builder.header_rows = only.header_rows
                if not one_of_many:
                    only.require_all_used(original.name)
            _require_undoable(original, counts, has_snapshot=prior_state is not None, allow_nothing=one_of_many)
            builder.left_out = {
                label: (counts[decision], ()) for decision, label in DECISION_LABELS.items() if counts[decision]
            }
            plan = builder.finish(target)
    excluded = {decision.value: counts[decision] for decision in DECISION_LABELS if counts[decision]}
    policy = original.meta.get("policy_name", "")
    return builder, replace(plan, source_label="undo of", excluded=excluded, policy=policy)


async def mark_original_undone(undo_journal: Path) -> str:
    """Record the undo in the journal of the run that it reverts; returns why that is not possible, or nothing."""
    with JournalReader(undo_journal) as reader:
        original = Path(json.loads(reader.meta()["undo_of"])["journal"])
    return await mark_undone_by(undo_journal, original)


async def mark_undone_by(undo_journal: Path, original: Path, name: str = "") -> str:
    """As `mark_original_undone`, in `original`. `name`: that of the undo for people; by default its path."""
    with JournalReader(undo_journal) as reader:
        summary, meta = reader.summary(), reader.meta()
    name = name or _recorded_path(undo_journal)
    mark = UndoMark(name, float(meta["created"]), summary.disassociated + summary.already, summary.total)
    try:
        await mark_undone(original, mark)
    except JournalError as error:
        return f"the reports of {original} will not mention this undo: {error}"
    return ""


def _recorded_path(path: Path) -> str:
    """The absolute path, as a journal has it."""
    return str(path.absolute()).encode("utf-8", "backslashreplace").decode()


def write_protect_list(undo_journal: Path) -> Path:
    """Write the things of an undo as a protect list next to its journal, and return its path.

    Raises `UsageError` if the file cannot be written.
    """
    path = undo_journal.with_name(f"{undo_journal.stem}.protect.txt")
    with JournalReader(undo_journal) as reader, atomic_write_text(path, undo_journal) as file:
        things = sorted({row.thing for row in reader.outcomes()})
        file.writelines(f"thing:{thing}\n" for thing in things)
    return path


def _read_original_run(reader: JournalReader, state_location: str) -> _OriginalRun:
    if reader.is_running():
        raise JournalError(f"{reader.path} is in use by another process; stop the run or wait for its end, then undo")
    meta = reader.meta()
    operation = parse_operation(meta.get("operation", ""), reader.path)
    has_provenance = provenance_from_meta(meta, reader.path) is not None
    return _OriginalRun(reader.path, meta.get("run", ""), operation, has_provenance, meta, state_location)


def _metadata(original: _OriginalRun) -> dict[str, str]:
    """The origin of the undo, and the account, so that no start uses another account."""
    link = {"run": original.run, "journal": _recorded_path(original.path)}
    if original.state_location:  # its path is temporary
        link["state_run"] = original.path.parent.name
    metadata = {
        "undo_of": json.dumps(link),
        **provenance_to_meta(ProvenanceKind.UNDO, original.path.absolute(), time.time()),
    }
    return metadata | {name: original.meta[name] for name in ("account",) if original.meta.get(name)}


def _select(
    effects: Iterator[ThingEffect],
    things_before: PriorState,
    only: Selection | None,
    counts: Counter[UndoDecision],
    *,
    revert_uncertain: bool,
) -> Iterator[tuple[str, str]]:
    """Yield the pairs to revert. `counts` gets the decision about each thing."""
    for core, group in groupby(effects, lambda effect: effect.core):
        prior_things: Container[str] | None = None
        for effect in group:
            if only is not None and not only.matches(core, effect.thing):
                counts[UndoDecision.NOT_SELECTED] += 1
                continue
            if prior_things is None:
                prior_things = things_before(core)
            decision = decide(
                effect.certainty,
                prior_state_known=effect.thing in prior_things,
                revert_uncertain=revert_uncertain,
            )
            counts[decision] += 1
            if decision is UndoDecision.REVERT:
                yield core, effect.thing


def _require_undoable(
    original: _OriginalRun, counts: Counter[UndoDecision], *, has_snapshot: bool, allow_nothing: bool
) -> None:
    """Raise `UsageError` if the run cannot be undone in its present state."""
    if unresolved := counts[UndoDecision.UNRESOLVED]:
        raise UsageError(
            f"{original.name}: {format_count(unresolved, 'thing')} possibly sent, the outcome is unknown; nothing was"
            f" sent; first run: asyncgg resume {original.argument}, or select others with --only"
        )
    unknown = counts[UndoDecision.PRIOR_STATE_UNKNOWN]
    if unknown and not has_snapshot:
        started_at = format_timestamp(float(original.meta["created"])) if original.meta.get("created") else "the run"
        raise UsageError(
            f"{original.name}: cannot prove that the {format_count(unknown, 'thing')} were associated before the run;"
            f" nothing was sent; give --inventory OLD.db, a snapshot from before {started_at}, or use"
            " --assume-associated"
        )
    if not counts[UndoDecision.REVERT] and not allow_nothing:
        reasons = [f"{count:,} {DECISION_LABELS[decision]}" for decision, count in counts.items() if count]
        raise UsageError(
            f"{original.name}: nothing to undo ({', '.join(reasons) or 'the run has no things'}); nothing was sent"
        )


@contextlib.contextmanager
def prior_state_from_snapshot(
    inventory: Path | None, journal: Path, meta: Mapping[str, str], *, assume_associated: bool = False
) -> Iterator[PriorState | None]:
    """The associations in the snapshot `inventory` during the block; None without one.

    `meta` is that of `journal`. The default is the snapshot that the run made first, unless
    `assume_associated`. Raises `SnapshotError` if the snapshot is unfinished, `UsageError`
    if it is of another account, Region or endpoint, or not from before the run.
    """
    if inventory is None and meta.get("snapshot") and not assume_associated:
        recorded = Path(meta["snapshot"])
        inventory = next(filter(Path.exists, (recorded, journal.with_name(recorded.name))), None)
        if inventory is None:
            raise UsageError(
                f"{recorded}: the snapshot that was made before the run is missing; give its place with --inventory,"
                " or use --assume-associated"
            )
    if inventory is None:
        yield None
        return
    with Snapshot(inventory) as snapshot:
        snapshot.require_finished()
        _require_before_run(snapshot, journal, meta)

        def things_before(core: str) -> Container[str]:
            return {record.thing for record in snapshot.associations(core)}

        yield things_before


def _require_before_run(snapshot: Snapshot, journal: Path, meta: Mapping[str, str]) -> None:
    for name in ("account", "region", "endpoint"):
        snapshot_value, run_value = getattr(snapshot.origin, name), meta.get(name, "")
        if snapshot_value and run_value and snapshot_value != run_value:
            raise UsageError(
                f"{snapshot.path} is of {name} {snapshot_value}, but the run of {journal} used {run_value};"
                " give a snapshot of the same fleet"
            )
    # In a later snapshot, the run may have removed what is missing; what is there may be back.
    run_started_at, scan_ended_at = float(meta.get("created") or 0), snapshot.ended_at
    if scan_ended_at is None or scan_ended_at > run_started_at:
        raise UsageError(
            f"{snapshot.path} was completed at {format_timestamp(scan_ended_at)}, not before the run of {journal}"
            f" started ({format_timestamp(run_started_at)}); give an older snapshot"
        )
