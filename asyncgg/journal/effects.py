"""Rule: what a journal knows of what its run changed at the service is read here: how sure it is of each thing.

Whether that is enough to take it back is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from asyncgg.journal.reader import JournalReader
from asyncgg.models import ThingState

__all__ = ["Certainty", "ThingEffect", "iter_effects", "last_request_at"]

_DONE = int(ThingState.DISASSOCIATED)
_FAILED = int(ThingState.FAILED)


class Certainty(Enum):
    """What a run knows of its own effect on one thing."""

    ACCEPTED = "accepted"
    """The service took it without a word about this thing."""
    CONFIRMED = "confirmed"
    """A reply was lost, and when it was sent again the service said that it is so already."""
    ALREADY_DONE = "already-done"
    """The service said so at once: it was like that before this run."""
    UNCERTAIN = "uncertain"
    """It failed after a request whose reply was lost: perhaps done, perhaps not."""
    UNRESOLVED = "unresolved"
    """In a request that was sent perhaps, and still to be decided."""
    UNCHANGED = "unchanged"
    """Never sent, or refused each time."""


@dataclass(frozen=True, slots=True)
class ThingEffect:
    """One thing of a run and how sure its effect is."""

    core: str
    thing: str
    certainty: Certainty


def iter_effects(reader: JournalReader) -> Iterator[ThingEffect]:
    """Every thing of the journal, by core and name; streamed. Raises `JournalError`."""
    rows = reader._query(
        "SELECT core.name, thing.name, thing.state, coalesce(thing.code, ''), thing.ambiguous"
        " FROM thing CROSS JOIN core ON core.id = thing.core"
    )
    for core, thing, state, code, ambiguous in rows:
        yield ThingEffect(core, thing, _certainty_of(state, code, ambiguous=bool(ambiguous)))


def last_request_at(reader: JournalReader) -> float | None:
    """When the run sent or was answered last, in seconds since 1970; None when it sent nothing."""
    ((at,),) = reader._query("SELECT max(coalesce(answered_at, claimed_at)) FROM request")
    return None if at is None else float(at)


def _certainty_of(state: int, code: str, *, ambiguous: bool) -> Certainty:
    if state == _DONE:
        if not code:
            return Certainty.ACCEPTED
        return Certainty.CONFIRMED if ambiguous else Certainty.ALREADY_DONE
    if state == _FAILED:
        return Certainty.UNCERTAIN if ambiguous else Certainty.UNCHANGED
    return Certainty.UNRESOLVED if ambiguous or state == int(ThingState.CLAIMED) else Certainty.UNCHANGED
