"""Requests and responses of the simulated service as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qsl, unquote


class ApiOperation(Enum):
    """The simulated operations by their names in the service model."""

    DISASSOCIATE = "BatchDisassociateClientDeviceFromCoreDevice"
    ASSOCIATE = "BatchAssociateClientDeviceWithCoreDevice"
    LIST_CORES = "ListCoreDevices"
    GET_CORE = "GetCoreDevice"
    LIST_DEVICES = "ListClientDevicesAssociatedWithCoreDevice"


class Delivery(Enum):
    """How a response is delivered."""

    REPLY = "reply"
    RESET = "reset"
    """The connection is reset instead of a response."""
    HANG = "hang"
    """Nothing is sent until the client disconnects."""
    TRUNCATED = "half"
    """The connection closes after half of the body."""


@dataclass(frozen=True, slots=True)
class Request:
    """A received HTTP request."""

    method: str
    target: str
    """Path and query, percent-encoded."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query, percent-encoded."""
        return self.target.partition("?")[2]

    @property
    def parameters(self) -> dict[str, str]:
        """The decoded query; the last value of a repeated name counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response with its delay in seconds and its delivery."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    delivery: Delivery = Delivery.REPLY
    core: str = ""
    """The core device of the request, if any."""
    from_service: bool = True
    """Whether the service sends it, with a request id."""


@dataclass(frozen=True, slots=True)
class Call:
    """The operation and core in the path of a request."""

    operation: ApiOperation
    core: str = ""


class ApiError(Exception):
    """An error response with status, code and members."""

    def __init__(self, status: int, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.members = {"message": message, **members}
        self.delay = 0.0
        """Delay in addition to the latency, seconds."""

    def to_response(self, headers: Mapping[str, str] | None = None) -> Response:
        """Convert to the restJson1 protocol: the code in a header, the members in the body."""
        response = json_response(self.members, self.status, {"x-amzn-ErrorType": self.code, **(headers or {})})
        return replace(response, delay=self.delay)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Build a response with `value` as compact JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(status, body, {"Content-Type": "application/json", **(headers or {})})


_ROOT: Final = "/greengrass/v2/coreDevices"
_ACTIONS: Final = {
    ("POST", "disassociateClientDevices"): ApiOperation.DISASSOCIATE,
    ("POST", "associateClientDevices"): ApiOperation.ASSOCIATE,
    ("GET", "associatedClientDevices"): ApiOperation.LIST_DEVICES,
}


def route(method: str, path: str) -> Call | None:
    """Get the operation of a method and an encoded path; None if unknown."""
    if not path.startswith(_ROOT):
        return None
    rest = path.removeprefix(_ROOT)
    if rest in ("", "/"):
        return Call(ApiOperation.LIST_CORES) if method == "GET" else None
    parts = rest.split("/")
    if len(parts) == 2 and method == "GET":
        return Call(ApiOperation.GET_CORE, unquote(parts[1]))
    if len(parts) != 3 or parts[0]:
        return None
    operation = _ACTIONS.get((method, parts[2]))
    return None if operation is None else Call(operation, unquote(parts[1]))
