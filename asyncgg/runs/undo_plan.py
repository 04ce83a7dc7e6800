"""Rule: what of a run may be taken back is decided here, and made into a journal of the opposite operation.

Only what the run is known to have changed is touched: the service took it, and it was known before to be as the run
found it. A run that took its list from a listing knows that by itself; for others a snapshot from before says it, or
the person does. Doubt leaves a thing as it is.
"""

from __future__ import annotations

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
from asyncgg.formatting import format_timestamp
from asyncgg.journal import Certainty, JournalReader, ThingEffect, iter_effects, parse_operation
from asyncgg.manifest import Chunk, load_protect_list
from asyncgg.manifest.name_lists import Selection
from asyncgg.models import Operation
from asyncgg.runs.plan import Plan
from asyncgg.runs.prepare import JournalBuilder
from asyncgg.runs.provenance import ProvenanceKind, provenance_from_meta, provenance_to_meta
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["DECISION_LABELS", "NOT_INHERITED", "PriorState", "UndoDecision", "decide", "prepare_undo"]

PriorState = Callable[[str], Container[str]]
"""By core: the things that were associated with it before the run."""

NOT_INHERITED: Final = frozenset({"max_things", "protect", "skip_bad_rows"})
"""Settings that were about the list of the run, which an undo does not read again."""

_CHUNK_SIZE: Final = 5_000


class UndoDecision(Enum):
    """What becomes of one thing of a run that is taken back; the values are the words of plans in JSON."""

    REVERT = "revert"
    PRIOR_STATE_UNKNOWN = "prior_state_unknown"
    """The run may have changed it, but nothing says how it was before."""
    UNCHANGED = "unchanged"
    """The service said that it was so already, or refused each time, or was never asked."""
    UNCERTAIN = "uncertain"
    """Failed after a lost reply: whether the run changed it is not known."""
    UNRESOLVED = "unresolved"
    """Sent perhaps, and not decided yet."""
    NOT_SELECTED = "not_selected"
    """Left out by the person."""


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
    UndoDecision.UNCERTAIN: "failed after a lost reply, perhaps changed (verify tells)",
    UndoDecision.UNRESOLVED: "not decided",
    UndoDecision.NOT_SELECTED: "not in the list",
}
"""How a person is told of those that are left out."""


def decide(certainty: Certainty, *, prior_state_known: bool) -> UndoDecision:
    """What becomes of a thing whose effect is so sure; `known`: whether it is known how it was before the run."""
    decision = _DECISIONS[certainty]
    return UndoDecision.PRIOR_STATE_UNKNOWN if decision is UndoDecision.REVERT and not prior_state_known else decision


class _ContainsAll:
    """Contains any thing."""

    def __contains__(self, thing: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _OriginalRun:
    """The run that is taken back."""

    path: Path
    run: str
    operation: Operation
    has_provenance: bool
    """Whether its own journal says that it was known how things were before."""
    meta: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"run {self.run} ({self.path})"


def prepare_undo(
    journal: Path,
    new_journal: Path,
    settings: Settings,
    target: Endpoint | None,
    *,
    only: Selection | None = None,
    prior_state: PriorState | None = None,
    assume_associated: bool = False,
) -> tuple[JournalBuilder, Plan]:
    """Make the journal `into` that takes back what the run of `journal` is known to have changed. Blocking.

    `known_before` says what a snapshot from before the run holds; `assume_associated`: all of it was as it should be.

    Raises:
        UsageError: things that are not decided, or not known before; nothing to take back; strangers in `only`.
        GuardError: more things than `max_things`.
        JournalError: the journal is none, is being run, or the new one cannot be made.
    """
    protect = load_protect_list(str(settings.protect)) if settings.protect else None
    with JournalReader(journal) as reader:
        original = _read_original_run(reader)
        things_before: PriorState = (
            _all_things if assume_associated or original.has_provenance else prior_state or _no_things
        )
        builder = JournalBuilder(
            new_journal,
            settings,
            source=original.name,
            protect=protect,
            operation=original.operation.inverse,
            extra_meta=_metadata(original),
        )
        try:
            counts: Counter[UndoDecision] = Counter()
            for chunk in _chunks(_select(iter_effects(reader), things_before, only, counts)):
                builder.add(chunk)
            if only is not None:
                only.require_all_used(original.name)
            _require_undoable(original, counts, has_snapshot=prior_state is not None)
            plan = builder.finish(target)
        except BaseException:
            builder.discard()
            raise
    excluded = {
        decision.value: counts[decision]
        for decision in UndoDecision
        if counts[decision] and decision is not UndoDecision.REVERT
    }
    return builder, replace(plan, source_label="undo of", excluded=excluded)


def _read_original_run(reader: JournalReader) -> _OriginalRun:
    if reader.is_running():
        raise JournalError(f"journal {reader.path}: a process is running it; stop it or wait for its end, then undo")
    meta = reader.meta()
    operation = parse_operation(meta.get("operation", ""), reader.path)
    has_provenance = provenance_from_meta(meta, reader.path) is not None
    return _OriginalRun(reader.path, meta.get("run", ""), operation, has_provenance, meta)


def _metadata(original: _OriginalRun) -> dict[str, str]:
    """What the new journal says of its origin; the account too, so that no start of it acts in another one."""
    link = {"run": original.run, "journal": str(original.path.absolute()).encode("utf-8", "backslashreplace").decode()}
    metadata = {
        "undo_of": json.dumps(link),
        **provenance_to_meta(ProvenanceKind.UNDO, original.path.absolute(), time.time()),
    }
    return metadata | {name: original.meta[name] for name in ("account",) if original.meta.get(name)}


def _all_things(_core: str) -> Container[str]:
    return _ContainsAll()


def _no_things(_core: str) -> Container[str]:
    return ()


def _select(
    effects: Iterator[ThingEffect], things_before: PriorState, only: Selection | None, counts: Counter[UndoDecision]
) -> Iterator[tuple[str, str]]:
    """The pairs to take back; `tally` counts the fate of each thing."""
    for core, group in groupby(effects, lambda effect: effect.core):
        prior_things: Container[str] | None = None
        for effect in group:
            if only is not None and not only.matches(core, effect.thing):
                counts[UndoDecision.NOT_SELECTED] += 1
                continue
            if prior_things is None:
                prior_things = things_before(core)
            decision = decide(effect.certainty, prior_state_known=effect.thing in prior_things)
            counts[decision] += 1
            if decision is UndoDecision.REVERT:
                yield core, effect.thing


def _chunks(pairs: Iterator[tuple[str, str]]) -> Iterator[Chunk]:
    while good := list(islice(pairs, _CHUNK_SIZE)):
        yield Chunk(good=good)


def _require_undoable(original: _OriginalRun, counts: Counter[UndoDecision], *, has_snapshot: bool) -> None:
    """Raise `UsageError` when the run cannot be taken back as it stands."""
    journal = shlex.quote(str(original.path))
    if unresolved := counts[UndoDecision.UNRESOLVED]:
        raise UsageError(
            f"{original.name}: {_count_things(unresolved)} may have been sent and {_is_or_are(unresolved)} not decided, nothing was"
            f" sent; first: asyncgg resume {journal}, or name others with --only"
        )
    unknown = counts[UndoDecision.PRIOR_STATE_UNKNOWN]
    if unknown and not has_snapshot:
        run_start = format_timestamp(float(original.meta["created"])) if original.meta.get("created") else "it began"
        raise UsageError(
            f"{original.name}: nothing says that the {_count_things(unknown)} it {original.operation.past_participle} were associated"
            " before, and the service may accept what was not; nothing was sent; give --inventory OLD.db, a snapshot"
            f" from before {run_start}, or say --assume-associated"
        )
    if not counts[UndoDecision.REVERT]:
        reasons = [f"{count:,} {DECISION_LABELS[decision]}" for decision, count in counts.items() if count]
        raise UsageError(
            f"{original.name}: there is nothing that it is known to have {original.operation.past_participle}"
            f" ({', '.join(reasons) or 'it has no things'}); nothing was sent"
        )


def _count_things(number: int) -> str:
    return f"{number:,} thing{'' if number == 1 else 's'}"


def _is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"
