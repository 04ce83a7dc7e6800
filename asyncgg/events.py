"""Rule: what the engine tells whoever listens, as values; nothing here acts, formats or waits.

A listener is a plain callable. It runs on the event loop and must be quick; what it raises ends the run.
Events about things are sent only after the journal has committed them: what was announced survives a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asyncgg.models import Outcome, RunState

__all__ = [
    "CoreScanFailed",
    "CoreSkipped",
    "Event",
    "InvalidNames",
    "Listener",
    "PageFailed",
    "Progress",
    "RateChanged",
    "RequestFailed",
    "RunEnded",
    "RunStarted",
    "SendingPaused",
    "Stopping",
    "ThingsFinished",
    "Throttled",
]


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run stands at one moment. Things are counted over the whole journal, requests over this start."""

    total: int
    disassociated: int
    failed: int
    pending: int
    in_flight: int
    """Requests being sent now."""
    sent: int
    throttled: int
    retried: int
    rate: float
    """Requests per second the limiter grants now."""
    ceiling: float
    """Requests per second it may grant at most."""
    seconds: float
    """Since this start."""
    seconds_left: float | None
    """By the quota's arithmetic: requests still to be sent ÷ rate; None when nothing is known."""
    status: str = ""
    """Why the run is not simply going on: paused, refreshing credentials, stopping."""

    @property
    def finished(self) -> int:
        """Things with a final outcome."""
        return self.disassociated + self.failed


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first request is about to be sent."""

    run: str
    pending: int
    requests: int
    """Requests that are needed at least."""


@dataclass(frozen=True, slots=True)
class ThingsFinished:
    """Things that got their final outcome, committed to the journal."""

    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request was not accepted as a whole; its things go back to the queue, fail, or are split (`verdict`)."""

    core: str
    things: int
    code: str
    message: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """The service throttled a request."""

    core: str
    retry_after: float | None
    """Seconds the service asked for."""


@dataclass(frozen=True, slots=True)
class RateChanged:
    """The rate policy set another rate, in requests per second."""

    old: float
    new: float


@dataclass(frozen=True, slots=True)
class CoreSkipped:
    """A core is missing or denied: its remaining things got that outcome without another request."""

    core: str
    code: str
    message: str
    things: int
    counts_as_done: bool = False
    """Whether they count as done: they had been listed, and went with their core."""


@dataclass(frozen=True, slots=True)
class SendingPaused:
    """The whole lane waits, in seconds: Retry-After, an unreachable service, credentials to be refreshed."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PageFailed:
    """A page of a list was not had; it is asked for again, or its list given up."""

    core: str
    """Empty: the list of core devices itself."""
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CoreScanFailed:
    """A core's client devices are not known to the last."""

    core: str
    reason: str
    """`vanished` (then it has none), `denied` or `failed`."""
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class InvalidNames:
    """A list told names that are none; they are not used."""

    core: str
    """Empty: in the list of core devices itself."""
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopping:
    """Nothing new is claimed any more; what is in flight ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """This start is over; the journal is committed."""

    state: RunState
    reason: str
    limit_reached: bool = False
    """Whether only the first things were to go in this start, and they have: nothing was interrupted."""


Event = (
    RunStarted
    | ThingsFinished
    | RequestFailed
    | Throttled
    | RateChanged
    | CoreSkipped
    | SendingPaused
    | PageFailed
    | CoreScanFailed
    | InvalidNames
    | Stopping
    | RunEnded
)

Listener = Callable[[Event], None]
