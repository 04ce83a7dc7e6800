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
from asyncgg.journal import Certainty, JournalReader, ThingEffect, iter_effects, parse_operation
from asyncgg.manifest import Chunk, load_protect
from asyncgg.manifest.only import Only
from asyncgg.manifest.writing import timestamp
from asyncgg.model import Operation
from asyncgg.runs.evidence import EvidenceKind, evidence_fact, evidence_of
from asyncgg.runs.plan import Plan
from asyncgg.runs.prepare import Preparation
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["NOT_INHERITED", "WORDS", "Fate", "KnownBefore", "fate_of", "prepare_undo"]

KnownBefore = Callable[[str], Container[str]]
"""By core: the things that were associated with it before the run."""

NOT_INHERITED: Final = frozenset({"max_things", "protect", "skip_bad_rows"})
"""Settings that were about the list of the run, which an undo does not read again."""

_CHUNK: Final = 5_000


class Fate(Enum):
    """What becomes of one thing of a run that is taken back; the values are the words of plans in JSON."""

    TAKEN_BACK = "taken_back"
    NOT_KNOWN = "not_known_before"
    """The run may have changed it, but nothing says how it was before."""
    AS_BEFORE = "as_before"
    """The service said that it was so already, or refused each time, or was never asked."""
    DOUBTFUL = "doubtful"
    """Failed after a lost reply: whether the run changed it is not known."""
    UNRESOLVED = "unresolved"
    """Sent perhaps, and not decided yet."""
    NOT_WANTED = "not_wanted"
    """Left out by the person."""


_BY_SURENESS: Final[Mapping[Certainty, Fate]] = {
    Certainty.ACCEPTED: Fate.TAKEN_BACK,
    Certainty.CONFIRMED: Fate.TAKEN_BACK,
    Certainty.ALREADY_DONE: Fate.AS_BEFORE,
    Certainty.UNCHANGED: Fate.AS_BEFORE,
    Certainty.UNCERTAIN: Fate.DOUBTFUL,
    Certainty.UNRESOLVED: Fate.UNRESOLVED,
}


WORDS: Final[Mapping[Fate, str]] = {
    Fate.NOT_KNOWN: "not known to have been associated before",
    Fate.AS_BEFORE: "not changed by the run",
    Fate.DOUBTFUL: "failed after a lost reply, perhaps changed (verify tells)",
    Fate.UNRESOLVED: "not decided",
    Fate.NOT_WANTED: "not in the list",
}
"""How a person is told of those that are left out."""


def fate_of(sureness: Certainty, *, known: bool) -> Fate:
    """What becomes of a thing whose effect is so sure; `known`: whether it is known how it was before the run."""
    fate = _BY_SURENESS[sureness]
    return Fate.NOT_KNOWN if fate is Fate.TAKEN_BACK and not known else fate


class _Everything:
    """Contains any thing."""

    def __contains__(self, thing: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _Source:
    """The run that is taken back."""

    path: Path
    run: str
    operation: Operation
    evident: bool
    """Whether its own journal says that it was known how things were before."""
    meta: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"run {self.run} ({self.path})"


def prepare_undo(
    journal: Path,
    into: Path,
    settings: Settings,
    target: Endpoint | None,
    *,
    only: Only | None = None,
    known_before: KnownBefore | None = None,
    assume: bool = False,
) -> tuple[Preparation, Plan]:
    """Make the journal `into` that takes back what the run of `journal` is known to have changed. Blocking.

    `known_before` says what a snapshot from before the run holds; `assume`: all of it was as it should be.

    Raises:
        UsageError: things that are not decided, or not known before; nothing to take back; strangers in `only`.
        GuardError: more things than `max_things`.
        JournalError: the journal is none, is being run, or the new one cannot be made.
    """
    protect = load_protect(str(settings.protect)) if settings.protect else None
    with JournalReader(journal) as reader:
        source = _read(reader)
        known: KnownBefore = _everything if assume or source.evident else known_before or _nothing
        preparation = Preparation(
            into,
            settings,
            source=source.name,
            protect=protect,
            operation=source.operation.inverse,
            facts=_facts(source),
        )
        try:
            tally: Counter[Fate] = Counter()
            for chunk in _chunks(_taken_back(iter_effects(reader), known, only, tally)):
                preparation.add(chunk)
            if only is not None:
                only.check(source.name)
            _refuse(source, tally, snapshot=known_before is not None)
            plan = preparation.finish(target)
        except BaseException:
            preparation.discard()
            raise
    left_out = {fate.value: tally[fate] for fate in Fate if tally[fate] and fate is not Fate.TAKEN_BACK}
    return preparation, replace(plan, origin="undo of", left_out=left_out)


def _read(reader: JournalReader) -> _Source:
    if reader.is_running():
        raise JournalError(f"journal {reader.path}: a process is running it; stop it or wait for its end, then undo")
    meta = reader.meta()
    operation = parse_operation(meta.get("operation", ""), reader.path)
    evident = evidence_of(meta, reader.path) is not None
    return _Source(reader.path, meta.get("run", ""), operation, evident, meta)


def _facts(source: _Source) -> dict[str, str]:
    """What the new journal says of its origin; the account too, so that no start of it acts in another one."""
    link = {"run": source.run, "journal": str(source.path.absolute()).encode("utf-8", "backslashreplace").decode()}
    facts = {"undo_of": json.dumps(link), **evidence_fact(EvidenceKind.UNDO, source.path.absolute(), time.time())}
    return facts | {name: source.meta[name] for name in ("account",) if source.meta.get(name)}


def _everything(_core: str) -> Container[str]:
    return _Everything()


def _nothing(_core: str) -> Container[str]:
    return ()


def _taken_back(
    found: Iterator[ThingEffect], known: KnownBefore, only: Only | None, tally: Counter[Fate]
) -> Iterator[tuple[str, str]]:
    """The pairs to take back; `tally` counts the fate of each thing."""
    for core, group in groupby(found, lambda change: change.core):
        known_things: Container[str] | None = None
        for change in group:
            if only is not None and not only.wants(core, change.thing):
                tally[Fate.NOT_WANTED] += 1
                continue
            if known_things is None:
                known_things = known(core)
            fate = fate_of(change.certainty, known=change.thing in known_things)
            tally[fate] += 1
            if fate is Fate.TAKEN_BACK:
                yield core, change.thing


def _chunks(pairs: Iterator[tuple[str, str]]) -> Iterator[Chunk]:
    while good := list(islice(pairs, _CHUNK)):
        yield Chunk(good=good)


def _refuse(source: _Source, tally: Counter[Fate], *, snapshot: bool) -> None:
    """Raise `UsageError` when the run cannot be taken back as it stands."""
    journal = shlex.quote(str(source.path))
    if unresolved := tally[Fate.UNRESOLVED]:
        raise UsageError(
            f"{source.name}: {_things(unresolved)} may have been sent and {_are(unresolved)} not decided, nothing was"
            f" sent; first: asyncgg resume {journal}, or name others with --only"
        )
    unknown = tally[Fate.NOT_KNOWN]
    if unknown and not snapshot:
        began = timestamp(float(source.meta["created"])) if source.meta.get("created") else "it began"
        raise UsageError(
            f"{source.name}: nothing says that the {_things(unknown)} it {source.operation.past_participle} were associated"
            " before, and the service may accept what was not; nothing was sent; give --inventory OLD.db, a snapshot"
            f" from before {began}, or say --assume-associated"
        )
    if not tally[Fate.TAKEN_BACK]:
        reasons = [f"{count:,} {WORDS[fate]}" for fate, count in tally.items() if count]
        raise UsageError(
            f"{source.name}: there is nothing that it is known to have {source.operation.past_participle}"
            f" ({', '.join(reasons) or 'it has no things'}); nothing was sent"
        )


def _things(number: int) -> str:
    return f"{number:,} thing{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
