"""Rule: the two lists live here: a fleet and a query's parameters go in, one page comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asyncgg.simulator.fleet import Core, Fleet
from asyncgg.simulator.validation import page_size, read_token, thing_group, validation_error, write_token

__all__ = ["list_cores", "list_devices"]

_STATUSES: Final = ("HEALTHY", "UNHEALTHY")


def list_cores(fleet: Fleet, parameters: Mapping[str, str]) -> dict[str, Any]:
    """One page of ListCoreDevices, in the order of names; raises RefusalError for what is not valid."""
    limit, group = page_size(parameters), thing_group(parameters)
    status, runtime = parameters.get("status", ""), parameters.get("runtime", "")
    if "status" in parameters and status not in _STATUSES:
        raise validation_error({"status": f"is none of {', '.join(_STATUSES)}"})
    if "runtime" in parameters and not 1 <= len(runtime) <= 255:
        raise validation_error({"runtime": "has not 1 to 255 characters"})
    scope = f"cores {group} {status} {runtime}"
    after = read_token(parameters, scope)
    found, more = fleet.page_of_cores(after, limit, status=status, runtime=runtime, group=group)
    page: dict[str, Any] = {"coreDevices": [_told(core) for core in found]}
    return page | ({"nextToken": write_token(scope, found[-1].name)} if more else {})


def list_devices(fleet: Fleet, core: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """One page of ListClientDevicesAssociatedWithCoreDevice, in the order of names; raises RefusalError."""
    limit, scope = page_size(parameters), f"devices {core}"
    found, more = fleet.page_of_things(core, read_token(parameters, scope), limit)
    page: dict[str, Any] = {
        "associatedClientDevices": [{"thingName": name, "associationTimestamp": time} for name, time in found]
    }
    return page | ({"nextToken": write_token(scope, found[-1][0])} if more else {})


def _told(core: Core) -> dict[str, Any]:
    return {
        "coreDeviceThingName": core.name,
        "status": core.status,
        "lastStatusUpdateTimestamp": core.last_status_update,
        "platform": core.platform,
        "architecture": core.architecture,
        "runtime": core.runtime,
    }
