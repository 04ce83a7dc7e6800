"""Requests to the simulated AWS IoT: the operation, its parameters and its pages."""

# Paths, members and errors: botocore service models iot/2015-05-28 and iot-data/2015-05-28. The
# quotas are defaults of us-east-1 from public exports of Service Quotas, not from AWS's own page.

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from asyncgg.simulator.registry import Registry
from asyncgg.simulator.validation import decode_token, encode_token
from asyncgg.simulator.wire import ApiError, Request

CONTROL_PLANE: Final = "iot"
DATA_PLANE: Final = "iotdata"


@dataclass(frozen=True, slots=True)
class IotCall:
    """A request for an operation at a time, with the decoded names in its path."""

    operation: IotOperation
    names: Mapping[str, str]
    request: Request
    now: float
    page_size: int

    @property
    def thing(self) -> str:
        """The name of the thing."""
        return self.names["thing"]

    @property
    def body(self) -> dict[str, Any]:
        """The body; empty if it is not a JSON object."""
        try:
            document = json.loads(self.request.body or b"{}")
        except ValueError:
            document = {}
        return document if isinstance(document, dict) else {}

    @property
    def principal(self) -> str:
        """The id of a certificate, or the identity of another principal; empty without one."""
        return self.request.headers.get("x-amzn-principal", "").rpartition(":cert/")[2]

    @property
    def target(self) -> str:
        """The id of the certificate whose policies are concerned."""
        return (self.names.get("target") or str(self.body.get("target", ""))).rpartition(":cert/")[2]

    @property
    def subject(self) -> str:
        """What the request is about, for the log: names in the path, then principal or target."""
        names = [value for key, value in self.names.items() if key != "target"]
        return " ".join(name for name in (*names, self.principal, self.target) if name)

    def page(
        self, items: list[str], cursor: str = "nextToken", size: str = "maxResults"
    ) -> tuple[list[str], dict[str, str]]:
        """A page of sorted items and the token of the next one. Raises `ApiError`.

        A page may have fewer items than asked for [service model: maxResults is a maximum].
        """
        scope = f"{self.operation.name} {self.subject}"
        given = self.request.parameters
        limit = max(1, min(parse_integer(given.get(size, "25")), self.page_size))
        try:
            after = decode_token({"nextToken": given[cursor]} if cursor in given else {}, scope)
        except ApiError:
            raise invalid_request(f"Invalid {cursor}") from None
        rest = [item for item in items if item > after]
        if len(rest) <= limit:
            return rest, {}
        return rest[:limit], {cursor.replace("marker", "nextMarker"): encode_token(scope, rest[limit - 1])}


IotHandler = Callable[[Registry, IotCall], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class IotOperation:
    """An operation: its path, its quota in requests per second and the service that signs it."""

    name: str
    method: str
    path: re.Pattern[str]
    quota: float
    service: str
    handler: IotHandler


IOT_OPERATIONS: Final[dict[str, IotOperation]] = {}


def iot_operation(
    name: str, route: str, quota: float, service: str = CONTROL_PLANE
) -> Callable[[IotHandler], IotHandler]:
    """Register a handler for METHOD /path/{name}."""
    method, _, path = route.partition(" ")
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

    def register(handler: IotHandler) -> IotHandler:
        IOT_OPERATIONS[name] = IotOperation(name, method, pattern, quota, service, handler)
        return handler

    return register


def route_iot(request: Request, now: float, page_size: int) -> IotCall | None:
    """The call of a request; None if AWS IoT has no such operation here."""
    for operation in IOT_OPERATIONS.values():
        if operation.method == request.method and (match := operation.path.fullmatch(request.path)):
            names = {key: unquote(value) for key, value in match.groupdict().items()}
            return IotCall(operation, names, request, now, page_size)
    return None


def parse_integer(text: str) -> int:
    """Get a whole number. Raises `ApiError`."""
    if not (text.isascii() and text.isdigit()):
        raise invalid_request(f"{text!r} is not a whole number")
    return int(text)


def invalid_request(message: str) -> ApiError:
    """The error for a request that AWS IoT does not accept."""
    return ApiError(400, "InvalidRequestException", message)
