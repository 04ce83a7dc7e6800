"""Rule: the forms of requests and answers live here, as values: what came, what goes back, and how.

Errors have the form of the rest-json protocol: the code in a header, the members in the body.
[botocore service model greengrassv2/2020-11-30]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

__all__ = ["ApiError", "ApiOperation", "Call", "Delivery", "Request", "Response", "json_response", "route"]


class ApiOperation(Enum):
    """The operations that are simulated, by the names of the service model."""

    DISASSOCIATE = "BatchDisassociateClientDeviceFromCoreDevice"
    ASSOCIATE = "BatchAssociateClientDeviceWithCoreDevice"
    LIST_CORES = "ListCoreDevices"
    LIST_DEVICES = "ListClientDevicesAssociatedWithCoreDevice"


class Delivery(Enum):
    """What becomes of an answer on its way."""

    REPLY = "reply"
    RESET = "reset"
    """The connection is reset instead."""
    HANG = "hang"
    """Nothing comes until the client gives up."""
    TRUNCATED = "half"
    """Half of the body comes, then the connection is closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it came."""

    method: str
    target: str
    """Path and query, still percent-encoded."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the first question mark, still percent-encoded."""
        return self.target.partition("?")[2]

    @property
    def parameters(self) -> dict[str, str]:
        """The query, decoded; of a repeated name the last one."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer, the seconds it takes, and what becomes of it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    delivery: Delivery = Delivery.REPLY
    core: str = ""
    """The core device that was asked for, when there was one."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is known by its path, and by nothing else yet."""

    operation: ApiOperation
    core: str = ""


class ApiError(Exception):
    """The service does not accept the request; becomes an answer with this status, code and members."""

    def __init__(self, status: int, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.members = {"message": message, **members}
        self.delay = 0.0
        """Seconds on top of the latency."""

    def to_response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The error in the form of the rest-json protocol."""
        response = json_response(self.members, self.status, {"x-amzn-ErrorType": self.code, **(headers or {})})
        return replace(response, delay=self.delay)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer whose body is `value` as compact JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(status, body, {"Content-Type": "application/json", **(headers or {})})


_ROOT: Final = "/greengrass/v2/coreDevices"
_ACTIONS: Final = {
    ("POST", "disassociateClientDevices"): ApiOperation.DISASSOCIATE,
    ("POST", "associateClientDevices"): ApiOperation.ASSOCIATE,
    ("GET", "associatedClientDevices"): ApiOperation.LIST_DEVICES,
}


def route(method: str, path: str) -> Call | None:
    """Which operation the method and the (still encoded) path mean; None when it is none of ours."""
    if not path.startswith(_ROOT):
        return None
    rest = path.removeprefix(_ROOT)
    if rest in ("", "/"):
        return Call(ApiOperation.LIST_CORES) if method == "GET" else None
    parts = rest.split("/")
    if len(parts) != 3 or parts[0]:
        return None
    operation = _ACTIONS.get((method, parts[2]))
    return None if operation is None else Call(operation, unquote(parts[1]))
