"""Builds the pages of core devices and of their client devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asyncgg.simulator.fleet import Core, Fleet
from asyncgg.simulator.validation import (
    decode_token,
    encode_token,
    parse_page_size,
    parse_thing_group,
    validation_error,
)

_STATUSES: Final = ("HEALTHY", "UNHEALTHY")


def list_cores(fleet: Fleet, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Get a page of ListCoreDevices, sorted by name; raises `ApiError` for invalid parameters."""
    limit, group = parse_page_size(parameters), parse_thing_group(parameters)
    status, runtime = parameters.get("status", ""), parameters.get("runtime", "")
    if "status" in parameters and status not in _STATUSES:
        raise validation_error({"status": f"must be one of: {', '.join(_STATUSES)}"})
    if "runtime" in parameters and not 1 <= len(runtime) <= 255:
        raise validation_error({"runtime": "must have 1 to 255 characters"})
    scope = f"cores {group} {status} {runtime}"
    after = decode_token(parameters, scope)
    cores, has_more = fleet.page_of_cores(after, limit, status=status, runtime=runtime, group=group)
    page: dict[str, Any] = {"coreDevices": [core_to_dict(core) for core in cores]}
    return page | ({"nextToken": encode_token(scope, cores[-1].name)} if has_more else {})


def list_devices(fleet: Fleet, core: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Get a page of client devices, sorted by name; raises `ApiError`."""
    limit, scope = parse_page_size(parameters), f"devices {core}"
    devices, has_more = fleet.page_of_things(core, decode_token(parameters, scope), limit)
    page: dict[str, Any] = {
        "associatedClientDevices": [{"thingName": name, "associationTimestamp": time} for name, time in devices]
    }
    return page | ({"nextToken": encode_token(scope, devices[-1][0])} if has_more else {})


def core_to_dict(core: Core) -> dict[str, Any]:
    """A core device as in ListCoreDevices and GetCoreDevice."""
    return {
        "coreDeviceThingName": core.name,
        "status": core.status,
        "lastStatusUpdateTimestamp": core.last_status_update,
        "platform": core.platform,
        "architecture": core.architecture,
        "runtime": core.runtime,
    }
