"""Rule: the values that the inventory takes and gives live here: frozen, needing neither a loop nor a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from asyncgg.models import CoreDevice, RunState

__all__ = [
    "AssociationRecord",
    "CoreState",
    "Origin",
    "ScanProgress",
    "ScanResult",
    "ScannedCore",
    "SnapshotCounts",
]


class CoreState(IntEnum):
    """Where the listing of one core stands; the numbers are written into snapshots and never change their meaning."""

    WAITING = 0
    """Not listed to its end yet."""
    DONE = 1
    VANISHED = 2
    """The service did not know it any more when it was to be listed: it has no client devices."""
    DENIED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose fleet it is. An unknown account is empty."""

    account: str = ""
    region: str = ""
    endpoint: str = ""


class AssociationRecord(NamedTuple):
    """One association as a sweep found it."""

    core: str
    thing: str
    associated_at: float | None
    """Seconds since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class ScannedCore:
    """One core device and what its listing came to."""

    device: CoreDevice
    """In a sweep of named cores only the name is known."""
    state: CoreState
    things: int
    pages: int
    """Accepted requests that its list took."""
    code: str = ""
    """Why it was not listed to its end."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotCounts:
    """What a snapshot holds."""

    cores: int
    waiting: int
    listed: int
    vanished: int
    denied: int
    failed: int
    associations: int
    invalid_names: int
    """Items whose name was none; they are in no list."""
    duplicates: int
    """Associations that were told more than once."""


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How a sweep stands at one moment: cores and associations of the whole sweep, requests of this start."""

    cores: int
    """Known so far."""
    finished: int
    """Of them, listed to their end or given up."""
    associations: int
    sent: int
    throttled: int
    retried: int
    in_flight: int
    requests_left: int
    """Requests still needed, as far as can be told: those of cores not listed yet by the mean of the others."""
    open_ended: bool
    """The list of cores has not come to its end: there may be more than is known."""
    rate: float
    """Requests per second the limiter grants now."""
    ceiling: float
    seconds: float
    """Since this start."""
    status: str = ""
    """Why it is not simply going on."""

    @property
    def seconds_left(self) -> float:
        """Seconds for what is left, at the present rate."""
        return self.requests_left / self.rate


@dataclass(frozen=True, slots=True)
class ScanResult:
    """How one start of a sweep ended."""

    path: Path
    state: RunState
    """COMPLETE: every core was listed or has vanished. PARTIAL: the sweep is over, but cores were denied or failed.
    Otherwise it is unfinished and can be resumed."""
    reason: str
    is_auth_error: bool
    """Whether credentials or permissions ended it."""
    counts: SnapshotCounts
    sent: int
    """Requests, all starts of this sweep together; those of a start that was killed as far as its file knows."""
    minimum: int
    """Pages that were accepted: the requests it would have taken without any failure."""
    throttled: int
    retried: int
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be listed."""
        return self.state in {RunState.COMPLETE, RunState.PARTIAL}

    @property
    def failed_share(self) -> float:
        """Part of the cores whose client devices are not known, 0 to 1; 1 while the sweep is unfinished.

        An incomplete view is no small fleet: whoever removes what is *not* in a snapshot must ask for this.
        """
        if not self.finished:
            return 1.0
        return (self.counts.denied + self.counts.failed) / max(self.counts.cores, 1)
