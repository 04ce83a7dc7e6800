"""The values of fleet scans and snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from asyncgg.models import CoreDevice, RunState


class CoreState(IntEnum):
    """State of the listing of one core. The numbers are stored in snapshots: never change one."""

    WAITING = 0
    """Not completely listed yet."""
    DONE = 1
    VANISHED = 2
    """The core no longer existed when it was listed: it has no client devices."""
    DENIED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """The account, Region and endpoint of a fleet. An unknown account is empty."""

    account: str = ""
    region: str = ""
    endpoint: str = ""


class AssociationRecord(NamedTuple):
    """One association found by a scan."""

    core: str
    thing: str
    associated_at: float | None
    """Seconds since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class ScannedCore:
    """One core device and the result of its listing."""

    device: CoreDevice
    """In a scan of named cores only the name is known."""
    state: CoreState
    things: int
    pages: int
    """Accepted requests for its list."""
    code: str = ""
    """Why its list is incomplete."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotCounts:
    """The counts of a snapshot."""

    cores: int
    waiting: int
    listed: int
    vanished: int
    denied: int
    failed: int
    associations: int
    invalid_names: int
    """Items with an invalid name; they are in no list."""
    duplicates: int
    """Associations that the service returned more than once."""

    @property
    def failed_share(self) -> float:
        """Share of the cores that were denied or failed, 0 to 1."""
        return (self.denied + self.failed) / max(self.cores, 1)


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """Progress of a scan: cores and associations of all starts, requests of this start."""

    cores: int
    """Cores known so far."""
    finished: int
    """Cores completed or abandoned."""
    associations: int
    sent: int
    throttled: int
    retried: int
    in_flight: int
    requests_left: int
    """Estimated requests still needed: unlisted cores count as the mean of the others."""
    open_ended: bool
    """The list of cores is unfinished: more cores may follow."""
    rate: float
    """Requests per second that the limiter grants now."""
    ceiling: float
    seconds: float
    """Seconds since this start."""
    status: str = ""
    """Why the scan is paused or stopping; else empty."""

    @property
    def seconds_left(self) -> float:
        """Seconds for `requests_left` at the current rate."""
        return self.requests_left / self.rate


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Result of one start of a scan."""

    path: Path
    state: RunState
    """COMPLETE: every core is listed or has vanished. PARTIAL: some cores were denied or failed.
    Any other state: unfinished, can be resumed."""
    reason: str
    is_auth_error: bool
    """Whether credentials or permissions ended the scan."""
    counts: SnapshotCounts
    sent: int
    """Requests of all starts of this scan; of a killed start, those recorded in the file."""
    minimum: int
    """Accepted pages: the requests needed without any failure."""
    throttled: int
    retried: int
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether nothing remains to be listed."""
        return self.state in {RunState.COMPLETE, RunState.PARTIAL}

    @property
    def failed_share(self) -> float:
        """Share of the cores that could not be listed, 0 to 1; 1 while the scan is unfinished.

        Check it before removing anything because it is *not* in a snapshot.
        """
        return self.counts.failed_share if self.finished else 1.0
