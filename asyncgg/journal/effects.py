"""What a run changed at the service, and how certain its journal is of each thing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from asyncgg.journal.reader import JournalReader
from asyncgg.models import ThingState

_DONE = int(ThingState.DISASSOCIATED)
_FAILED = int(ThingState.FAILED)


class Certainty(Enum):
    """What the journal proves about the effect of a run on one thing."""

    ACCEPTED = "accepted"
    """The service accepted the request without an error for this thing."""
    CONFIRMED = "confirmed"
    """A reply was lost, and the resent request found the thing already in the desired state."""
    ALREADY_DONE = "already-done"
    """The first request found the thing already in the desired state."""
    UNCERTAIN = "uncertain"
    """The thing failed after a request whose reply was lost: its state is unknown."""
    UNRESOLVED = "unresolved"
    """Pending, in a request that was possibly sent."""
    UNCHANGED = "unchanged"
    """Never sent, or rejected each time."""


@dataclass(frozen=True, slots=True)
class ThingEffect:
    """One thing of a run and the certainty of its effect."""

    core: str
    thing: str
    certainty: Certainty


def iter_effects(reader: JournalReader) -> Iterator[ThingEffect]:
    """Every thing of the journal, by core and name; streamed. Raises `JournalError`."""
    rows = reader._rows(
        "SELECT core.name, thing.name, thing.state, coalesce(thing.code, ''), thing.ambiguous"
        " FROM thing CROSS JOIN core ON core.id = thing.core"
    )
    for core, thing, state, code, ambiguous in rows:
        yield ThingEffect(core, thing, _certainty_of(state, code, ambiguous=bool(ambiguous)))


def last_request_at(reader: JournalReader) -> float | None:
    """Time of the last request or reply, in seconds since 1970, UTC; None when nothing was sent."""
    ((at,),) = reader._rows("SELECT max(coalesce(answered_at, claimed_at)) FROM request")
    return None if at is None else float(at)


def _certainty_of(state: int, code: str, *, ambiguous: bool) -> Certainty:
    if state == _DONE:
        if not code:
            return Certainty.ACCEPTED
        return Certainty.CONFIRMED if ambiguous else Certainty.ALREADY_DONE
    if state == _FAILED:
        return Certainty.UNCERTAIN if ambiguous else Certainty.UNCHANGED
    return Certainty.UNRESOLVED if ambiguous or state == int(ThingState.CLAIMED) else Certainty.UNCHANGED
