"""Rule: the reading of one HTTP answer of Greengrass V2 lives here: from status, headers and bytes to a Reply. Pure.

No HTTP library: every transport hands its raw answer to `parse_batch_response`, so all of them judge alike.
botocore's own parser is not asked, because it takes a 200 with an unreadable body for a success without errors and
fails on a `Retry-After` that is no whole number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import responses as _phrases
from typing import Any, Final

from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse, Reply

__all__ = ["HttpResponse", "parse_batch_response", "parse_error_response", "parse_http_date", "parse_retry_after"]

_EXCERPT_LENGTH: Final = 200
"""Most characters quoted of a body that is no JSON."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One HTTP answer whose body was received whole; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class MalformedResponseError(ValueError):
    """The body is not what the service model says; the message is a phrase about the answer."""


def parse_batch_response(response: HttpResponse, things: Collection[str], now: float) -> Reply:
    """The Reply to a request for `things`; `now` is the Unix time in seconds, for a `Retry-After` that is a date.

    [members and their places: Greengrass V2 service model; where the code stands: AWS restJson1 protocol]
    """
    if response.status == 200:
        try:
            return Accepted(_entry_errors(response, things), _request_id(response))
        except MalformedResponseError as error:
            return NoResponse("garbage", f"HTTP 200, but {error}", sent=True)
    if 200 <= response.status < 300:
        # The service model knows no other 2xx, so nobody can tell what was done.
        return NoResponse("garbage", f"HTTP {response.status}, which the service does not use", sent=True)
    return parse_error_response(response, now)


# --- 200 ---


def _entry_errors(response: HttpResponse, things: Collection[str]) -> tuple[EntryError, ...]:
    if not response.body:
        # An empty structure may be sent as no body at all, but only a stated length tells that from one that was lost,
        # and only the service's request id tells it from an empty 200 of some proxy in between.
        if response.headers.get("content-length", "").strip() == "0" and _request_id(response):
            return ()
        raise MalformedResponseError("the body is empty")
    members = _decode_json(response.body)
    if not isinstance(members, dict):
        raise MalformedResponseError("the body is no JSON object")
    entries = members.get("errorEntries")
    if entries is None:
        if not members.keys().isdisjoint({"__type", "message", "Message"}):
            raise MalformedResponseError("the body is an error's")
        return ()
    if not isinstance(entries, list):
        raise MalformedResponseError("errorEntries is no list")
    requested = frozenset(things)
    return tuple(_entry_error(entry, requested) for entry in entries)


def _entry_error(entry: object, requested: frozenset[str]) -> EntryError:
    if not isinstance(entry, dict):
        raise MalformedResponseError("an item of errorEntries is no object")
    thing = entry.get("thingName")
    if not isinstance(thing, str) or thing not in requested:
        # Which thing failed cannot be told, so no thing of the request may count as done.
        raise MalformedResponseError("an item of errorEntries names no thing of the request")
    return EntryError(thing, _text(entry, "code"), _text(entry, "message"))


def _text(entry: Mapping[str, Any], member: str) -> str:
    value = entry.get(member)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedResponseError(f"{member} of an item of errorEntries is no string")
    return _escape_surrogates(value)


def _escape_surrogates(text: str) -> str:
    """A lone surrogate, which JSON and headers can bring and no file can hold, as a backslash escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _decode_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedResponseError("the body is no JSON") from None


# --- everything else ---


def parse_error_response(response: HttpResponse, now: float) -> ErrorResponse:
    """The error that an answer with any status outside 2xx tells; `now` as for `parse_batch_response`."""
    try:
        parsed = _decode_json(response.body)
    except MalformedResponseError:
        parsed = None
    members: Mapping[str, Any] = parsed if isinstance(parsed, dict) else {}
    return ErrorResponse(
        status=response.status,
        code=_code(response, members),
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


def _code(response: HttpResponse, members: Mapping[str, Any]) -> str:
    """The error's bare name: header first, then the body; without one, the status itself."""
    error_type = response.headers.get("x-amzn-errortype", "") or _first_text(members, "code", "Code", "__type")
    return _escape_surrogates(error_type.split(":", 1)[0].rsplit("#", 1)[-1].strip()) or str(response.status)


def _first_text(members: Mapping[str, Any], *names: str) -> str:
    return _escape_surrogates(
        next((value for name in names if isinstance(value := members.get(name), str) and value), "")
    )


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
    """What stands in for a message: the beginning of a plain text, or the status's phrase for markup and silence."""
    text = " ".join(response.body.decode("utf-8", "replace").split())
    if not text or text.startswith(("<", "{", "[")):
        return _phrases.get(response.status, "")
    return text[:_EXCERPT_LENGTH]


def _request_id(response: HttpResponse) -> str:
    headers = response.headers
    return _escape_surrogates(headers.get("x-amzn-requestid") or headers.get("x-amz-request-id") or "")


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by the header `Retry-After`, never negative; None when it is absent or unreadable.

    A number may have decimals. A date is measured against the answer's own `Date`, which the skew of this machine's
    clock does not touch, or else against `now` (Unix time in seconds). [RFC 9110, 10.2.3]
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
    """The Unix time of an HTTP date in seconds, None when it cannot be read."""
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
