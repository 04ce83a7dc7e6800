"""The events that a run or a scan passes to its listeners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from asyncgg.models import Outcome, RunState


class Event:
    """The base class of all events."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run. Things are counted over the whole journal, requests over this start."""

    total: int
    disassociated: int
    already: int
    failed: int
    pending: int
    in_flight: int
    """Requests in flight."""
    sent: int
    throttled: int
    retried: int
    rate: float
    """Current rate of the limiter, in requests per second."""
    ceiling: float
    """Maximum rate of the limiter."""
    seconds: float
    """Seconds since this start."""
    seconds_left: float | None
    """Remaining requests divided by the rate; None if unknown."""
    status: str = ""
    """Why no requests are sent now (paused, refreshing credentials, stopping); else empty."""

    @property
    def finished(self) -> int:
        """Things with a final outcome."""
        return self.disassociated + self.already + self.failed


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The first request is about to be sent."""

    run: str
    pending: int
    requests: int
    """Minimum number of requests."""


@dataclass(frozen=True, slots=True)
class ThingsFinished(Event):
    """Things with a new final outcome. Emitted after the journal has committed the outcomes."""

    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)  # not frozen: that takes five times as long to create, and there is one per request
class RequestFinished(Event):
    """A request got a reply, failed, or was cancelled. Each counted request has one such event."""

    operation: str
    """The name of the API operation."""
    core: str
    """Empty for the list of core devices."""
    things: int
    batch: int
    """Number of the request in the journal; 0 in a scan."""
    attempt: int
    """1 for the first attempt; throttled attempts do not count."""
    verdict: str
    """What the reply means; a value of `ReplyVerdict`."""
    status: int | None
    """HTTP status; None without a response."""
    code: str
    """Error code of the response, or what happened instead; empty for an accepted request."""
    message: str
    request_id: str
    """Request ID of AWS; empty without a response of the service."""
    failed_things: int
    """Things with an error in an accepted request."""
    finished_at: float
    """Unix time of the reply."""
    seconds: float
    """Seconds since the request was sent."""

    @property
    def result(self) -> str:
        """`accepted`, `throttled` or `failed`."""
        return self.verdict if self.verdict in {"accepted", "throttled"} else "failed"


@dataclass(frozen=True, slots=True)
class BatchFinished(Event):
    """The journal has committed the results of a request."""

    batch: int
    core: str
    changed: int
    """Things that the service disassociated, or associated."""
    already: int
    failed: int
    requeued: int
    """Things that are sent again."""


@dataclass(frozen=True, slots=True)
class RequestFailed(Event):
    """A request failed. Its things are requeued, fail, or are split, depending on `verdict`."""

    core: str
    things: int
    code: str
    message: str
    verdict: str
    attempt: int = 0
    """Number of this attempt, if the verdict counts as one; else 0."""
    max_attempts: int = 0


@dataclass(frozen=True, slots=True)
class Throttled(Event):
    """The service throttled a request."""

    core: str
    retry_after: float | None
    """Seconds from the Retry-After header."""


class RateReason(Enum):
    """Why the rate changed."""

    STARTED = "started"
    THROTTLED = "throttled"
    OVERLOADED = "throttled again at once"
    BLOCKED = "nothing accepted since the throttle"
    ACCEPTED = "requests accepted"
    QUIET = "no throttle for a long time"
    SHARE = "the share of a lower quota"


@dataclass(frozen=True, slots=True)
class RateChanged(Event):
    """The rate policy changed the rate; requests per second."""

    old: float
    new: float
    reason: RateReason


@dataclass(frozen=True, slots=True)
class CoreSkipped(Event):
    """A core is missing or denied. Its remaining things get that outcome."""

    core: str
    code: str
    message: str
    things: int
    counts_as_done: bool = False
    """Whether the things count as done: they were listed before and the core no longer exists."""


@dataclass(frozen=True, slots=True)
class SendingPaused(Event):
    """The lane sends nothing for `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PageFailed(Event):
    """A page request of a scan failed. It is retried, or the listing is abandoned."""

    core: str
    """Empty for the list of core devices."""
    code: str
    message: str
    attempt: int = 0
    """As in `RequestFailed`."""
    max_attempts: int = 0


@dataclass(frozen=True, slots=True)
class CoreScanFailed(Event):
    """The listing of a core's client devices is incomplete."""

    core: str
    reason: str
    """`vanished` (the core has no client devices any more), `denied` or `failed`."""
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class InvalidNames(Event):
    """A listing returned invalid names. They are ignored."""

    core: str
    """Empty for the list of core devices."""
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    """No further requests are sent; those in flight still end."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """This start ended and the journal is committed."""

    state: RunState
    reason: str
    limit_reached: bool = False
    """Whether the start ended because `EngineOptions.limit` was reached."""


@dataclass(frozen=True, slots=True)
class ScanEnded(Event):
    """A scan ended; its snapshot is complete if the state is `complete` or `partial`."""

    state: RunState
    reason: str


Listener = Callable[[Event], None]
"""Called on the event loop, so it must be quick. An exception in a listener ends the run.

A listener with an attribute `event_types` gets only events of these types, others get all. Events that
no listener gets are not created; outcomes and requests are the expensive ones.
"""

ListenerT = TypeVar("ListenerT", bound=Callable[..., None])


def listens_to(*event_types: type[Event]) -> Callable[[ListenerT], ListenerT]:
    """Decorate a function or method as a listener of events of these types only."""

    def decorate(listener: ListenerT) -> ListenerT:
        vars(listener)["event_types"] = frozenset(event_types)
        return listener

    return decorate
