"""Rule: the values that cross module borders live here: frozen, slotted, needing neither a loop nor a clock.

Facts of AWS are taken from the Greengrass V2 service model (botocore, greengrassv2/2020-11-30).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

__all__ = [
    "MAX_BATCH",
    "MAX_NAME_LENGTH",
    "Accepted",
    "Association",
    "ClientDevice",
    "CoreDevice",
    "EntryError",
    "ErrorResponse",
    "NoResponse",
    "Operation",
    "Outcome",
    "Reply",
    "RunState",
    "Summary",
    "ThingState",
    "invalid_name_reason",
]

MAX_BATCH: Final = 100
"""Most entries of one BatchDisassociateClientDeviceFromCoreDevice call [service model: entries, 1 to 100]."""

MAX_NAME_LENGTH: Final = 128
"""Most characters of a thing's name [service model: IoTThingName, 1 to 128]."""

_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}\Z")


class Association(NamedTuple):
    """One client device of one core device, both by thing name: what a manifest's row asks to end."""

    core: str
    thing: str


class Operation(StrEnum):
    """What a run asks of the service; the values are written into journals."""

    DISASSOCIATE = "disassociate"
    """BatchDisassociateClientDeviceFromCoreDevice."""
    ASSOCIATE = "associate"
    """BatchAssociateClientDeviceWithCoreDevice, its twin: the same limits, the same shapes."""

    def __str__(self) -> str:
        return self.value

    @property
    def api(self) -> str:
        """Its name in the API and in IAM. [service model greengrassv2/2020-11-30]"""
        if self is Operation.ASSOCIATE:
            return "BatchAssociateClientDeviceWithCoreDevice"
        return "BatchDisassociateClientDeviceFromCoreDevice"

    @property
    def past_participle(self) -> str:
        """What its things are once it succeeded; also the key of their number in JSON."""
        return f"{self}d"

    @property
    def preposition(self) -> str:
        """What stands between things and cores in a sentence."""
        return "with" if self is Operation.ASSOCIATE else "from"

    @property
    def inverse(self) -> Operation:
        """The operation that takes it back."""
        return Operation.DISASSOCIATE if self is Operation.ASSOCIATE else Operation.ASSOCIATE


@dataclass(frozen=True, slots=True)
class CoreDevice:
    """A core device as ListCoreDevices tells it; a member the service left out is empty."""

    name: str
    status: str = ""
    """HEALTHY or UNHEALTHY, as the core said last."""
    last_status_at: float | None = None
    """Seconds since 1970, UTC: when the core last said anything; every 24 hours at least while it lives."""
    platform: str = ""
    architecture: str = ""
    runtime: str = ""


class ClientDevice(NamedTuple):
    """A thing as ListClientDevicesAssociatedWithCoreDevice tells it of one core."""

    thing: str
    associated_at: float | None
    """Seconds since 1970, UTC."""


def invalid_name_reason(name: str) -> str | None:
    """Why `name` is no thing name, as a phrase to follow the field's name, or None when it is one.

    [AWS IoT: thing names match `[a-zA-Z0-9:_-]+`, 1 to 128 characters]
    """
    if _NAME.match(name):
        return None
    if not name:
        return "is empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"has {len(name)} characters, {MAX_NAME_LENGTH} are allowed"
    return "has characters outside a-z A-Z 0-9 : _ -"


class ThingState(IntEnum):
    """Where one thing of a run stands; the numbers are written into journals and never change their meaning."""

    PENDING = 0
    """Not yet answered for good: never sent, or to be sent again."""
    CLAIMED = 1
    """In a request that is being sent; after a crash it counts as sent perhaps (ambiguous)."""
    DISASSOCIATED = 2
    """Done: the service accepted it, or says it is gone where we may believe that (see `asyncgg.classify`)."""
    FAILED = 3
    """Failed for good in this pass; `retry` gives it a new one."""


class RunState(StrEnum):
    """How a run stands or ended; the values are part of the JSON summary's contract."""

    PLANNED = "planned"
    RUNNING = "running"
    COMPLETE = "complete"
    """Every thing is done."""
    PARTIAL = "partial"
    """Every thing has an outcome, some failed."""
    ABORTED = "aborted"
    """A guard, a refused permission or a fault stopped it; the journal is resumable."""
    INTERRUPTED = "interrupted"
    """A person or the system stopped it (Ctrl-C, SIGTERM, a crash); resumable."""
    DEADLINE = "deadline"
    """The deadline the caller gave came; resumable."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class EntryError:
    """One item of `errorEntries`, word for word; a member the service left out is an empty string."""

    thing: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """HTTP 200: every thing that is not in `errors` is disassociated."""

    errors: tuple[EntryError, ...] = ()
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The service answered and did not accept the request (any HTTP status but 200); the error's members as sent."""

    status: int
    code: str
    message: str
    request_id: str = ""
    retry_after: float | None = None
    """Seconds, from the header `Retry-After`; None when absent or unreadable."""
    reason: str = ""
    """ValidationException `reason`."""
    fields: tuple[str, ...] = ()
    """ValidationException `fields[].name`."""
    resource_id: str = ""
    resource_type: str = ""
    quota_code: str = ""
    service_code: str = ""


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No readable answer came. `sent` is False only when it is certain that the service never saw the request."""

    kind: str
    """A short stable word: `timeout`, `reset`, `connect`, `garbage`, ..."""
    detail: str
    sent: bool


Reply = Accepted | ErrorResponse | NoResponse
"""What became of one request. Transports return it and raise only `CredentialsError` and cancellation."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one thing, for good."""

    core: str
    thing: str
    state: ThingState
    code: str = ""
    """The service's or request's code for a failure, or for a thing found gone; empty for a plain success."""
    message: str = ""
    attempts: int = 0
    """Requests that carried this thing and count against `max_attempts`."""

    @property
    def ok(self) -> bool:
        """Whether the thing is disassociated."""
        return self.state is ThingState.DISASSOCIATED


@dataclass(frozen=True, slots=True)
class Summary:
    """A run's figures; `asyncgg.report` turns it into the JSON object of the contract."""

    run: str
    journal: str
    state: RunState
    total: int
    """Distinct accepted associations."""
    disassociated: int
    """Done: by an associating run, associated."""
    failed: int
    pending: int
    rejected: int = 0
    duplicates: int = 0
    protected: int = 0
    sent: int = 0
    """Requests sent, all starts of this journal together."""
    minimum: int = 0
    """Sum over the cores of ceil(n / 100)."""
    throttled: int = 0
    retried: int = 0
    """Requests that carried at least one thing for at least the second time."""
    seconds: float = 0.0
    already: int = 0
    """Of those done, how many the service found so already when they were sent."""
    failures: dict[str, int] = field(default_factory=dict)
    """Things by final code."""
    operation: Operation = Operation.DISASSOCIATE
