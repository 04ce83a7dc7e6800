"""The values that modules exchange."""

# Facts of AWS come from the Greengrass V2 service model [botocore, greengrassv2/2020-11-30].

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

MAX_BATCH: Final = 100
"""Maximum entries of a batch call [service model: entries, 1 to 100]."""

MAX_NAME_LENGTH: Final = 128
"""Maximum characters of a thing name [service model: IoTThingName, 1 to 128]."""

_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}\Z")


class Association(NamedTuple):
    """A client device and its core device, both by thing name; one row of a manifest."""

    core: str
    thing: str


class Operation(StrEnum):
    """The operation of a run; journals contain the values."""

    DISASSOCIATE = "disassociate"
    """BatchDisassociateClientDeviceFromCoreDevice."""
    ASSOCIATE = "associate"
    """BatchAssociateClientDeviceWithCoreDevice; limits and shapes are the same."""

    @property
    def api(self) -> str:
        """The name of the API operation and of the IAM action [service model]."""
        if self is Operation.ASSOCIATE:
            return "BatchAssociateClientDeviceWithCoreDevice"
        return "BatchDisassociateClientDeviceFromCoreDevice"

    @property
    def past_participle(self) -> str:
        """The state of things after success; also the JSON key of their count."""
        return f"{self}d"

    @property
    def preposition(self) -> str:
        """The word between things and cores in a message."""
        return "with" if self is Operation.ASSOCIATE else "from"

    @property
    def inverse(self) -> Operation:
        """The operation that reverses this one."""
        return Operation.DISASSOCIATE if self is Operation.ASSOCIATE else Operation.ASSOCIATE


@dataclass(frozen=True, slots=True)
class CoreDevice:
    """A core device as returned by ListCoreDevices; missing members are empty."""

    name: str
    status: str = ""
    """HEALTHY or UNHEALTHY, as last reported by the core."""
    last_status_at: float | None = None
    """Unix time of the last status report. A running core reports at least every 24 hours."""
    platform: str = ""
    architecture: str = ""
    runtime: str = ""


class ClientDevice(NamedTuple):
    """A client device as returned by ListClientDevicesAssociatedWithCoreDevice."""

    thing: str
    associated_at: float | None
    """Unix time."""


def invalid_name_reason(name: str) -> str | None:
    """Why `name` is not a valid thing name, as a predicate ("is empty"); None if it is valid.

    [AWS IoT: thing names match `[a-zA-Z0-9:_-]+`, 1 to 128 characters]
    """
    if _NAME.match(name):
        return None
    if not name:
        return "is empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"has {len(name)} characters (maximum {MAX_NAME_LENGTH})"
    return "contains characters outside a-z A-Z 0-9 : _ -"


class ThingState(IntEnum):
    """The state of a thing in a run; journals contain the numbers, so they must not change."""

    PENDING = 0
    """No final outcome: not sent yet, or to be sent again."""
    CLAIMED = 1
    """In a request in flight. After a crash the thing is ambiguous: possibly sent."""
    DISASSOCIATED = 2
    """Accepted; in a run that associates, associated."""
    FAILED = 3
    """Final failure of this pass; `retry` starts a new pass."""
    ALREADY = 4
    """Reported as in the desired state before this request: not found, or associated already."""

    @property
    def is_final(self) -> bool:
        """Whether this is an outcome."""
        return self > ThingState.CLAIMED

    @property
    def is_done(self) -> bool:
        """Whether the thing is in the desired state."""
        return self is ThingState.DISASSOCIATED or self is ThingState.ALREADY


class RunState(StrEnum):
    """The state of a run; the values are part of the JSON summary."""

    PLANNED = "planned"
    RUNNING = "running"
    COMPLETE = "complete"
    """Every thing is done."""
    PARTIAL = "partial"
    """Completed with failures."""
    ABORTED = "aborted"
    """Stopped by an abort rule, a missing permission or an error; resumable."""
    INTERRUPTED = "interrupted"
    """Stopped by a person or the system (Ctrl-C, SIGTERM, a crash); resumable."""
    DEADLINE = "deadline"
    """Stopped at the deadline; resumable."""


@dataclass(frozen=True, slots=True)
class EntryError:
    """An item of `errorEntries`, unchanged; missing members are empty strings."""

    thing: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """HTTP 200: every thing that is not in `errors` succeeded."""

    errors: tuple[EntryError, ...] = ()
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error response of the service (not HTTP 200), with the members that it sent."""

    status: int
    code: str
    message: str
    request_id: str = ""
    retry_after: float | None = None
    """Seconds from the Retry-After header; None if it is missing or invalid."""
    reason: str = ""
    """ValidationException `reason`."""
    fields: tuple[str, ...] = ()
    """ValidationException `fields[].name`."""
    resource_id: str = ""
    resource_type: str = ""
    quota_code: str = ""
    service_code: str = ""


FOREIGN: Final = "foreign"
"""`NoResponse.kind` of an answer that is not from the service: it says nothing about the request."""


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No valid response. `sent` is False only if the request did not reach the service."""

    kind: str
    """A stable identifier: `timeout`, `reset`, `connect`, `garbage`, `foreign`, ..."""
    detail: str
    sent: bool


Reply = Accepted | ErrorResponse | NoResponse
"""The result of one request. Transports raise only `CredentialsError` and `CancelledError`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The final outcome of one thing."""

    core: str
    thing: str
    state: ThingState
    code: str = ""
    """Error code of a failure, or of a thing that is `ALREADY` done; else empty."""
    message: str = ""
    attempts: int = 0
    """Requests with this thing that count against `max_attempts`."""

    @property
    def ok(self) -> bool:
        """Whether the thing is in the desired state."""
        return self.state.is_done


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a run; `asyncgg.report` converts it to the JSON summary."""

    run: str
    journal: str
    state: RunState
    total: int
    """Distinct accepted associations."""
    disassociated: int
    """Things that this run changed; in a run that associates, the associated ones."""
    failed: int
    pending: int
    rejected: int = 0
    duplicates: int = 0
    protected: int = 0
    header_rows: int = 0
    """Rows left out because they repeat the header."""
    sent: int = 0
    """Requests sent in all starts of this journal."""
    minimum: int = 0
    """Minimum requests: the sum of ceil(n / 100) over the cores."""
    throttled: int = 0
    retried: int = 0
    """Requests with at least one thing that had been sent before."""
    seconds: float = 0.0
    already: int = 0
    """Things that the service reported as in the desired state before."""
    failures: dict[str, int] = field(default_factory=dict)
    """Things by final code."""
    operation: Operation = Operation.DISASSOCIATE
    undoable: bool = False
    """Whether the associations were listed before the run, which is what `undo` needs."""
    state_location: str = ""
    """Where the run is saved (`--state`); empty if its journal is a local file."""
    state_run: str = ""
    """The name of the run in its state (`--run`); empty for the newest one."""
    lost_notifications: tuple[str, ...] = ()
    """Why notifications of the last start could not be delivered."""
