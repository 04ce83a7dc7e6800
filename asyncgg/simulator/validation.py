"""Validates requests as the service model does."""

# [botocore service model greengrassv2/2020-11-30 for shapes and lengths; AWS IoT for the characters
# of names]

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.models import MAX_BATCH, invalid_name_reason
from asyncgg.simulator.wire import ApiError

_GROUP_ARN: Final = re.compile(r"arn:[^:]*:iot:[^:]*:[0-9]+:thinggroup/(.+)")


def validation_error(fields: Mapping[str, str], reason: str = "FIELD_VALIDATION_FAILED") -> ApiError:
    """Build a ValidationException from field name → problem; `reason` as in the service model."""
    summary = "; ".join(f"{name} {problem}" for name, problem in fields.items())
    return ApiError(
        400,
        "ValidationException",
        f"Invalid request: {summary}",
        reason=reason,
        fields=[{"name": name, "message": f"{name} {problem}"} for name, problem in fields.items()],
    )


def check_core(name: str) -> None:
    """Raise `ApiError` unless `name` is a valid core name."""
    problem = invalid_name_reason(name)
    if problem:
        raise validation_error({"coreDeviceThingName": problem})


def read_entries(body: bytes) -> list[str]:
    """Get the thing names of a batch of 1 to 100 entries; raises `ApiError`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise validation_error({"body": "is not JSON"}, "CANNOT_PARSE") from None
    if not isinstance(document, dict):
        raise validation_error({"body": "is not a JSON object"}, "CANNOT_PARSE")
    entries = document.get("entries")
    if entries is None:
        raise validation_error({"entries": "is missing"})
    if not isinstance(entries, list):
        raise validation_error({"entries": "is not a list"}, "CANNOT_PARSE")
    if not 1 <= len(entries) <= MAX_BATCH:
        raise validation_error({"entries": f"has {len(entries)} members, 1 to {MAX_BATCH} are allowed"})
    problems = {
        f"entries[{index}].thingName": problem
        for index, entry in enumerate(entries)
        if (problem := _invalid_entry_reason(entry))
    }
    if problems:
        raise validation_error(problems)
    return [entry["thingName"] for entry in entries]


def parse_page_size(parameters: Mapping[str, str]) -> int:
    """Get maxResults (1 to 100, default 100); raises `ApiError`."""
    text = parameters.get("maxResults", "100")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 100):
        raise validation_error({"maxResults": "is not a whole number from 1 to 100"})
    return int(text)


def parse_thing_group(parameters: Mapping[str, str]) -> str:
    """Get the name of the group in thingGroupArn, empty without it; raises `ApiError`."""
    arn = parameters.get("thingGroupArn")
    if arn is None:
        return ""
    match = _GROUP_ARN.fullmatch(arn)
    if match is None:
        raise validation_error({"thingGroupArn": "is not the ARN of a thing group"})
    return match[1]


def encode_token(scope: str, after: str) -> str:
    """Build a nextToken that continues after a name in a scope (operation, core, filters)."""
    return base64.urlsafe_b64encode(json.dumps([scope, after]).encode()).decode()


def decode_token(parameters: Mapping[str, str], scope: str) -> str:
    """Get the name to continue after, empty without a token; raises `ApiError` for other scopes."""
    token = parameters.get("nextToken")
    if token is None:
        return ""
    try:
        value = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        value = None
    if not (isinstance(value, list) and len(value) == 2 and value[0] == scope and isinstance(value[1], str)):
        raise validation_error({"nextToken": "is not a token of this list"})
    return value[1]


def _invalid_entry_reason(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return "is not in an object"
    name = entry.get("thingName")
    if name is None:
        return "is missing"
    if not isinstance(name, str):
        return "is not a string"
    return invalid_name_reason(name)
