"""Parses HTTP responses of Greengrass V2 to list requests."""

# A list decides what is disassociated, so nothing is guessed: a member of the wrong type makes the
# whole response garbage, and the page is requested again. Only items with an invalid name are
# skipped and reported. [members: Greengrass V2 service model]

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, invalid_name_reason
from asyncgg.transport.base import Page
from asyncgg.transport.responses import (
    HttpResponse,
    MalformedResponseError,
    decode_object,
    malformed_success,
    parse_error_response,
)

T = TypeVar("T")

_EXCERPT_LENGTH: Final = 200
"""Maximum number of characters kept of an invalid name."""
_MAX_TIMESTAMP: Final = 253_402_300_800.0
"""The year 10000 in seconds since 1970: the first time that `datetime` cannot represent."""


def parse_core_page(response: HttpResponse, now: float) -> Page[CoreDevice] | ErrorResponse | NoResponse:
    """Parse a page of ListCoreDevices; `now` (seconds since 1970) as for `parse_batch_response`."""
    return _parse(response, now, "coreDevices", _core)


def parse_device_page(response: HttpResponse, now: float) -> Page[ClientDevice] | ErrorResponse | NoResponse:
    """Parse a page of ListClientDevicesAssociatedWithCoreDevice; `now` as for `parse_core_page`."""
    return _parse(response, now, "associatedClientDevices", _device)


def _parse(
    response: HttpResponse, now: float, member: str, parse_item: Callable[[Mapping[str, Any], list[str]], T | None]
) -> Page[T] | ErrorResponse | NoResponse:
    if response.status != 200:
        return parse_error_response(response, now)
    request_id = response.headers.get("x-amzn-requestid", "")
    invalid_names: list[str] = []
    try:
        members = decode_object(response.body)
        parsed = [parse_item(_object(item, member), invalid_names) for item in _items(members, member, request_id)]
        next_token = _next_token(members)
    except MalformedResponseError as error:
        return malformed_success(response, error)
    return Page(tuple(item for item in parsed if item is not None), next_token, tuple(invalid_names), request_id)


def _items(members: Mapping[str, Any], member: str, request_id: str) -> Sequence[object]:
    items = members.get(member)
    # The list is optional in the service model, but a missing list looks like an empty fleet. It is
    # accepted only with the service's request id, so that a `{}` of a proxy is not.
    if items is None and request_id and members.keys() <= {member, "nextToken"}:
        return ()
    if not isinstance(items, list):
        raise MalformedResponseError(f"{member} is {'missing' if items is None else 'not a list'}")
    return items


def _object(item: object, member: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise MalformedResponseError(f"an item of {member} is not an object")
    return item


def _next_token(members: Mapping[str, Any]) -> str:
    token = members.get("nextToken")
    if token is None:
        return ""
    if not isinstance(token, str):
        raise MalformedResponseError("nextToken is not a string")
    return token


def _core(item: Mapping[str, Any], invalid_names: list[str]) -> CoreDevice | None:
    name = _name(item.get("coreDeviceThingName"), invalid_names)
    if name is None:
        return None
    return CoreDevice(
        name,
        _text(item, "status"),
        _time(item, "lastStatusUpdateTimestamp"),
        _text(item, "platform"),
        _text(item, "architecture"),
        _text(item, "runtime"),
    )


def _device(item: Mapping[str, Any], invalid_names: list[str]) -> ClientDevice | None:
    name = _name(item.get("thingName"), invalid_names)
    return None if name is None else ClientDevice(name, _time(item, "associationTimestamp"))


def _name(value: object, invalid_names: list[str]) -> str | None:
    if isinstance(value, str) and invalid_name_reason(value) is None:
        return value
    invalid_names.append(ascii(value)[:_EXCERPT_LENGTH])
    return None


def _text(item: Mapping[str, Any], member: str) -> str:
    value = item.get(member)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedResponseError(f"{member} is not a string")
    return value if value.isprintable() else ascii(value)[1:-1]


def _time(item: Mapping[str, Any], member: str) -> float | None:
    """Get seconds since 1970.

    The restJson1 protocol sends a number; the text of the service model says ISO 8601.
    """
    value: object = item.get(member)
    if value is None:
        return None
    if isinstance(value, str):
        value = _parse_iso_time(value)
    if not isinstance(value, float | int) or isinstance(value, bool) or not 0 <= value < _MAX_TIMESTAMP:  # or NaN
        raise MalformedResponseError(f"{member} is not a time")
    return float(value)


def _parse_iso_time(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
