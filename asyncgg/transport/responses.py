"""Parses HTTP responses of Greengrass V2 to batch requests, and errors of all requests."""

# Every transport uses these functions, so all of them agree. botocore's parser is not used: it
# takes a 200 with an unreadable body for a success, and fails on a `Retry-After` that is not a
# whole number.

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import responses as _reason_phrases
from typing import Any, Final

from asyncgg.formatting import sanitize
from asyncgg.models import FOREIGN, Accepted, EntryError, ErrorResponse, NoResponse, Reply

_EXCERPT_LENGTH: Final = 200
"""Maximum number of characters quoted from a body that is not JSON."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP response with its whole body; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class MalformedResponseError(ValueError):
    """The body of a 200 does not follow the service model."""


def parse_batch_response(response: HttpResponse, things: Collection[str], now: float) -> Reply:
    """Parse the response to a batch of `things`; `now` (seconds since 1970) is for `Retry-After`.

    [members: Greengrass V2 service model; location of the error code: AWS restJson1 protocol]
    """
    if response.status != 200:
        return parse_error_response(response, now)
    try:
        return Accepted(_entry_errors(response, things), _request_id(response))
    except MalformedResponseError as error:
        return malformed_success(response, error)


def malformed_success(response: HttpResponse, error: MalformedResponseError) -> NoResponse:
    """The result of a 200 with such a body: the request was possibly applied."""
    return NoResponse("garbage", f"{describe_response(response)}, but {error}", sent=True)


def _entry_errors(response: HttpResponse, things: Collection[str]) -> tuple[EntryError, ...]:
    if not response.body:
        # An empty structure can be sent without a body. A stated length proves that nothing was
        # lost, and the service's request id proves that no proxy answered.
        if response.headers.get("content-length", "").strip() == "0" and _request_id(response):
            return ()
        raise MalformedResponseError("the body is empty")
    members = decode_object(response.body)
    entries = members.get("errorEntries")
    if entries is None:
        if not members.keys().isdisjoint({"__type", "message", "Message"}):
            raise MalformedResponseError("the body is an error")
        return ()
    if not isinstance(entries, list):
        raise MalformedResponseError("errorEntries is not a list")
    requested = frozenset(things)
    return tuple(_entry_error(entry, requested) for entry in entries)


def _entry_error(entry: object, requested: frozenset[str]) -> EntryError:
    if not isinstance(entry, dict):
        raise MalformedResponseError("an item of errorEntries is not an object")
    thing = entry.get("thingName")
    if not isinstance(thing, str) or thing not in requested:
        # The failed thing is unknown, so no thing of the request can count as done.
        raise MalformedResponseError("an item of errorEntries does not name a thing of the request")
    return EntryError(thing, _text(entry, "code"), _text(entry, "message"))


def _text(entry: Mapping[str, Any], member: str) -> str:
    value = entry.get(member)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedResponseError(f"{member} of an item of errorEntries is not a string")
    return _escape_surrogates(value)


def _escape_surrogates(text: str) -> str:
    """Escape lone surrogates, which JSON and headers can contain but files cannot."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises `MalformedResponseError`."""
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedResponseError("the body is not JSON") from None
    if not isinstance(members, dict):
        raise MalformedResponseError("the body is not a JSON object")
    return members


def parse_error_response(response: HttpResponse, now: float) -> ErrorResponse | NoResponse:
    """Parse a response with any status but 200; `now` as for `parse_batch_response`.

    The service names the type of each error. An answer without it is from a proxy, a gateway or a
    captive portal, which possibly forwarded the request. A 429 is a throttle from any sender.
    """
    if 200 <= response.status < 300:
        # The service model has no other 2xx, so the outcome is unknown.
        return NoResponse("garbage", f"HTTP {response.status}, which the service does not use", sent=True)
    try:
        members = decode_object(response.body)
    except MalformedResponseError:
        members = {}
    error_type = _error_type(response, members)
    if not names_error_type(error_type, response.status):
        return NoResponse(FOREIGN, f"{describe_response(response)}, not from the service", sent=True)
    return ErrorResponse(
        status=response.status,
        code=error_type or str(response.status),
        message=_first_text(members, "message", "Message") or ("" if members else _excerpt(response)),
        request_id=_request_id(response),
        retry_after=parse_retry_after(response.headers, now),
        reason=_first_text(members, "reason"),
        fields=_field_names(members),
        resource_id=_first_text(members, "resourceId"),
        resource_type=_first_text(members, "resourceType"),
        quota_code=_first_text(members, "quotaCode"),
        service_code=_first_text(members, "serviceCode"),
    )


def names_error_type(code: str, status: int) -> bool:
    """Whether an error with this code is from the service; botocore's parsers fill in the status."""
    return status == 429 or code not in {"", "Unknown", str(status)}


def _error_type(response: HttpResponse, members: Mapping[str, Any]) -> str:
    """The error type from the header or the body without its namespace; empty without one."""
    error_type = response.headers.get("x-amzn-errortype", "") or _first_text(members, "code", "Code", "__type")
    return _escape_surrogates(error_type.split(":", 1)[0].rsplit("#", 1)[-1].strip())


def describe_response(response: HttpResponse) -> str:
    """Status and content type: `HTTP 403 Forbidden (text/html)`."""
    phrase = _reason_phrases.get(response.status, "")
    content_type = response.headers.get("content-type", "").partition(";")[0].strip()[:_EXCERPT_LENGTH]
    return sanitize(f"HTTP {response.status} {phrase} ({content_type or 'no content type'})")


def _first_text(members: Mapping[str, Any], *names: str) -> str:
    texts = (value for name in names if isinstance(value := members.get(name), str) and value)
    return _escape_surrogates(next(texts, ""))


def _field_names(members: Mapping[str, Any]) -> tuple[str, ...]:
    fields = members.get("fields")
    if not isinstance(fields, list):
        return ()
    return tuple(
        _escape_surrogates(field["name"])
        for field in fields
        if isinstance(field, dict) and isinstance(field.get("name"), str)
    )


def _excerpt(response: HttpResponse) -> str:
    """Get the start of a plain text, or else the reason phrase of the status."""
    text = " ".join(response.body.decode("utf-8", "replace").split())
    if not text or text.startswith(("<", "{", "[")):
        return _reason_phrases.get(response.status, "")
    return text[:_EXCERPT_LENGTH]


def _request_id(response: HttpResponse) -> str:
    headers = response.headers
    return _escape_surrogates(headers.get("x-amzn-requestid") or headers.get("x-amz-request-id") or "")


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Get the seconds of the `Retry-After` header, at least 0; None if missing or unreadable.

    A number can have decimals. A date is compared with the `Date` of the response, which does not
    depend on the local clock, or else with `now` (seconds since 1970). [RFC 9110, 10.2.3]
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        retry_at = parse_http_date(value)
        if retry_at is None:
            return None
        response_date = parse_http_date(headers.get("date", ""))
        seconds = retry_at - (now if response_date is None else response_date)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def parse_http_date(value: str) -> float | None:
    """Convert an HTTP date to seconds since 1970; None if it is unreadable."""
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
