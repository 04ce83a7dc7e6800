"""Rule: the reading of one page of a list lives here: from an HTTP answer to a `Page`, or to why it is none. Pure.

What a list holds decides what will be disassociated, so nothing is guessed: a member of the wrong type makes the whole
answer garbage, which is asked for again. Only a name that is no name is passed over, and told.
[members and their places: Greengrass V2 service model]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, invalid_name_reason
from asyncgg.transport.reads import Page
from asyncgg.transport.responses import HttpResponse, parse_error_response

__all__ = ["parse_core_page", "parse_device_page"]

T = TypeVar("T")

_EXCERPT_LENGTH: Final = 200
"""Most characters kept of what is no name."""
_MAX_TIMESTAMP: Final = 253_402_300_800.0
"""The year 10000 in seconds since 1970: no timestamp of ours lies there, and it is the last that can be written out."""


class MalformedResponseError(ValueError):
    """The body is not what the service model says; the message is a phrase about the answer."""


def parse_core_page(response: HttpResponse, now: float) -> Page[CoreDevice] | ErrorResponse | NoResponse:
    """The page of ListCoreDevices in `answer`; `now` is the Unix time in seconds, as for `parse_batch_response`."""
    return _parse(response, now, "coreDevices", _core)


def parse_device_page(response: HttpResponse, now: float) -> Page[ClientDevice] | ErrorResponse | NoResponse:
    """The page of ListClientDevicesAssociatedWithCoreDevice in `answer`; `now` as for `parse_core_page`."""
    return _parse(response, now, "associatedClientDevices", _device)


def _parse(
    response: HttpResponse, now: float, member: str, parse_item: Callable[[Mapping[str, Any], list[str]], T | None]
) -> Page[T] | ErrorResponse | NoResponse:
    if response.status == 200:
        try:
            return _parse_page(response, member, parse_item)
        except MalformedResponseError as error:
            return NoResponse("garbage", f"HTTP 200, but {error}", sent=True)
    if 200 <= response.status < 300:
        return NoResponse("garbage", f"HTTP {response.status}, which the service does not use", sent=True)
    return parse_error_response(response, now)


def _parse_page(
    response: HttpResponse, member: str, parse_item: Callable[[Mapping[str, Any], list[str]], T | None]
) -> Page[T]:
    try:
        members = json.loads(response.body)
    except (ValueError, RecursionError):
        raise MalformedResponseError("the body is no JSON") from None
    if not isinstance(members, dict):
        raise MalformedResponseError("the body is no JSON object")
    request_id = response.headers.get("x-amzn-requestid", "")
    invalid_names: list[str] = []
    parsed = [parse_item(_object(item, member), invalid_names) for item in _items(members, member, request_id)]
    return Page(
        tuple(item for item in parsed if item is not None), _next_token(members), tuple(invalid_names), request_id
    )


def _items(members: Mapping[str, Any], member: str, request_id: str) -> Sequence[object]:
    items = members.get(member)
    # The list is optional in the model, but a missing one looks like an empty fleet: only the service itself, known by
    # its request id, is believed that, and not a `{}` of some proxy in between.
    if items is None and request_id and members.keys() <= {member, "nextToken"}:
        return ()
    if not isinstance(items, list):
        raise MalformedResponseError(f"{member} is {'missing' if items is None else 'no list'}")
    return items


def _object(item: object, member: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise MalformedResponseError(f"an item of {member} is no object")
    return item


def _next_token(members: Mapping[str, Any]) -> str:
    token = members.get("nextToken")
    if token is None:
        return ""
    if not isinstance(token, str):
        raise MalformedResponseError("nextToken is no string")
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
        raise MalformedResponseError(f"{member} is no string")
    return value if value.isprintable() else ascii(value)[1:-1]


def _time(item: Mapping[str, Any], member: str) -> float | None:
    """Seconds since 1970: a number on the wire [restJson1 protocol]; the service model's text says ISO 8601."""
    value: object = item.get(member)
    if value is None:
        return None
    if isinstance(value, str):
        value = _parse_iso_time(value)
    if not isinstance(value, float | int) or isinstance(value, bool) or not 0 <= value < _MAX_TIMESTAMP:  # NaN too
        raise MalformedResponseError(f"{member} is no time")
    return float(value)


def _parse_iso_time(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
